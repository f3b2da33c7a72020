"""FastAPI, SQLModel and psycopg 3: what the app replaces, in the shape of FastAPI's own template.

A synchronous endpoint on FastAPI's threads; the token's row is looked up, and one row inserted. It
neither recognises a duplicate nor keeps a task's current state.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy import JSON, Column, DateTime
from sqlmodel import Field, Session, SQLModel, create_engine, select

from .event import TaskStatusEvent

engine = create_engine(os.environ["SQLALCHEMY_URL"], pool_size=40, max_overflow=0)
bearer = OAuth2PasswordBearer(tokenUrl="login/access-token")
app = FastAPI()


class Token(SQLModel, table=True):
    token: str = Field(primary_key=True)
    client: str
    scope: str
    expires: datetime = Field(sa_type=DateTime(timezone=True))


class Event(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    task_id: str = Field(index=True)
    event_type: str
    status: str | None
    entity_id: str | None
    origin_instance: str | None
    origin_zone: str | None
    origin_version: str | None
    timestamp: datetime | None = Field(sa_type=DateTime(timezone=True))
    details: dict[str, Any] | None = Field(sa_column=Column(JSON))
    progress: float
    error_message: str | None
    error_category: str | None
    completed_at: datetime | None = Field(sa_type=DateTime(timezone=True))
    started_at: datetime | None = Field(sa_type=DateTime(timezone=True))
    task_type: str
    additional_properties: dict[str, Any] = Field(sa_column=Column(JSON))
    received_at: datetime = Field(sa_type=DateTime(timezone=True))
    source: str


def get_session() -> Iterator[Session]:
    with Session(engine, expire_on_commit=False) as session:
        yield session


SessionOf = Annotated[Session, Depends(get_session)]


def get_client(session: SessionOf, token: Annotated[str, Depends(bearer)]) -> str:
    row = session.exec(select(Token).where(Token.token == token)).first()
    if row is None or row.expires < datetime.now(UTC):
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"})
    if "tasks:webhook" not in row.scope.split():
        raise HTTPException(403, "Not enough permissions")
    return row.client


@app.post("/api/v1/tasks/webhook")
def task_webhook(
    body: TaskStatusEvent, session: SessionOf, client: Annotated[str, Depends(get_client)]
) -> dict[str, Any]:
    fields = body.model_dump(exclude={"metadata"})
    event = Event(**fields, details=body.metadata, received_at=datetime.now(UTC), source=client)
    session.add(event)
    session.commit()
    return {"id": event.id, "task_id": event.task_id}


if __name__ == "__main__":
    SQLModel.metadata.create_all(engine)
    with Session(engine) as first:
        expires = datetime.now(UTC) + timedelta(days=1)
        first.add(Token(token="original", client="cluster", scope="tasks:webhook", expires=expires))
        first.commit()
    print("original")
