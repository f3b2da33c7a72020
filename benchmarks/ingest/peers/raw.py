"""FastAPI and bare asyncpg on uvloop, doing what the app does: the fastest that anyone would write by hand.

The same tables, the same one statement that stores the event once and moves the task's state, and
the same checks of the token by its checksum. The rules of the state are the app's pure functions.
What it leaves out is the app's contract: limits, the exact 422, text that PostgreSQL cannot hold.
"""

import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
from django.conf import settings
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer

from tasks.conf import AppSettings
from tasks.lifecycle import state_of, tie_of

from .event import TaskStatusEvent

settings.configure()
# The statement and the columns of its parameters, as the app has them.
STATEMENT = json.loads(os.environ["STATEMENT"])
FIND_TOKEN = """
    SELECT token.expires, token.scope, token.resource, application.name, app_user.username, app_user.is_active
    FROM oauth2_provider_accesstoken token
    LEFT JOIN oauth2_provider_application application ON application.id = token.application_id
    LEFT JOIN auth_user app_user ON app_user.id = token.user_id
    WHERE token.token_checksum = $1
"""
bearer = OAuth2PasswordBearer(tokenUrl="login/access-token")
meanings = AppSettings()
pool: asyncpg.Pool
#: A process caches a token for this many seconds; with 0 it asks the database at each delivery.
KEEP_TOKENS = float(os.environ.get("KEEP_TOKENS", "0"))
kept: dict[str, tuple[float, asyncpg.Record | None]] = {}


async def prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    global pool
    async with asyncpg.create_pool(
        os.environ["POSTGRES_URL"], min_size=20, max_size=20, init=prepare
    ) as pool:
        yield


app = FastAPI(lifespan=lifespan)


async def find_token(checksum: str) -> asyncpg.Record | None:
    until, row = kept.get(checksum, (0.0, None))
    if time.monotonic() >= until:
        row = await pool.fetchrow(FIND_TOKEN, checksum)
        kept[checksum] = time.monotonic() + KEEP_TOKENS, row
    return row


async def get_source(token: Annotated[str, Depends(bearer)]) -> str:
    row = await find_token(hashlib.sha256(token.encode()).hexdigest())
    if row is None or row["expires"] < datetime.now(UTC) or row["is_active"] is False or row["resource"]:
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"})
    if "tasks:webhook" not in row["scope"].split():
        raise HTTPException(403, "Not enough permissions")
    return row["username"] or row["name"]


@app.post("/api/v1/tasks/webhook")
async def task_webhook(body: TaskStatusEvent, source: Annotated[str, Depends(get_source)]) -> dict[str, Any]:
    now = datetime.now(UTC)
    event = body.model_dump(exclude=set(body.model_extra or ()))
    sent = body.model_dump_json(exclude_unset=True)
    digest = hashlib.sha256(sent.encode()).digest()
    tie = tie_of(digest, digest)
    state = state_of(event, event_id=0, received_at=now, tie=tie, settings=meanings)
    row = {
        **event,
        "unknown_fields": body.model_extra,
        "received_at": now,
        "source": source,
        "idempotency_key": digest,
        "payload_digest": digest,
    }
    state["task_id"] = body.task_id
    values = [row[name] for name in STATEMENT["event"]] + [state[name] for name in STATEMENT["task"]]
    stored = await pool.fetchrow(STATEMENT["sql"], *values)
    if stored is None:
        raise HTTPException(409, "This idempotency key was used before with another body.")
    return {"id": stored["id"], "task_id": body.task_id, "duplicate": stored["deliveries"] > 1}
