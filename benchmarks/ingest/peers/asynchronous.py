"""FastAPI, SQLAlchemy's asyncio and asyncpg on uvloop: what most would write today.

The token's row is looked up, and one row inserted. It neither recognises a duplicate nor keeps a
task's current state.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy import DateTime, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from .event import TaskStatusEvent

engine = create_async_engine(os.environ["SQLALCHEMY_URL"], pool_size=20, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)
bearer = OAuth2PasswordBearer(tokenUrl="login/access-token")
app = FastAPI()


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True), dict[str, Any]: JSONB}


class Token(Base):
    __tablename__ = "token"

    token: Mapped[str] = mapped_column(primary_key=True)
    client: Mapped[str]
    scope: Mapped[str]
    expires: Mapped[datetime]


class Event(Base):
    __tablename__ = "event"

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[str] = mapped_column(index=True)
    event_type: Mapped[str]
    status: Mapped[str | None]
    entity_id: Mapped[str | None]
    origin_instance: Mapped[str | None]
    origin_zone: Mapped[str | None]
    origin_version: Mapped[str | None]
    timestamp: Mapped[datetime | None]
    details: Mapped[dict[str, Any] | None]
    progress: Mapped[float]
    error_message: Mapped[str | None]
    error_category: Mapped[str | None]
    completed_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    task_type: Mapped[str]
    additional_properties: Mapped[dict[str, Any]]
    received_at: Mapped[datetime]
    source: Mapped[str]


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


SessionOf = Annotated[AsyncSession, Depends(get_session)]


async def get_client(session: SessionOf, token: Annotated[str, Depends(bearer)]) -> str:
    row = await session.scalar(select(Token).where(Token.token == token))
    if row is None or row.expires < datetime.now(UTC):
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"})
    if "tasks:webhook" not in row.scope.split():
        raise HTTPException(403, "Not enough permissions")
    return row.client


@app.post("/api/v1/tasks/webhook")
async def task_webhook(
    body: TaskStatusEvent, session: SessionOf, client: Annotated[str, Depends(get_client)]
) -> dict[str, Any]:
    fields = body.model_dump(exclude={"metadata", *(body.model_extra or ())})
    event = Event(**fields, details=body.metadata, received_at=datetime.now(UTC), source=client)
    session.add(event)
    await session.commit()
    return {"id": event.id, "task_id": event.task_id}


async def set_up() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions() as session:
        expires = datetime.now(UTC) + timedelta(days=1)
        session.add(Token(token="asynchronous", client="cluster", scope="tasks:webhook", expires=expires))
        await session.commit()
    print("asynchronous")


if __name__ == "__main__":
    asyncio.run(set_up())
