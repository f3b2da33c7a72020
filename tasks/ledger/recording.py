"""Record an event: the only place where an event is stored and its task's state moves."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from django.db import Error, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from ..conf import COLUMN_LENGTH, app_settings
from ..database.data_faults import reject_fault_of_data
from ..database.long_statements import cursor_for_long_statements
from ..exceptions import IdempotencyConflict, Unconfirmed
from ..handlers.registry import Match, matching
from ..lifecycle import State, state_of, tie_of
from ..models import Reaction, Task, TaskStatusEvent
from ..signals import event_recorded
from ..wire.canonical import canonical_json
from . import upsert

__all__ = ("Recorded", "record_event")

logger = logging.getLogger("sartiq_tasks.recording")

#: A longer key is stored as its SHA-256, as HMAC does (RFC 2104), so that any key fits the column.
MAX_KEY_BYTES = 64

# The columns of the task's row that are read back: all of them only if event_recorded has a receiver.
_STATUSES = ("status", "previous_status")
_ALL = ("*",)
_OF_EVENT = ("id", "deliveries")


@dataclass(frozen=True, slots=True)
class Recorded:
    """The outcome of one delivery."""

    event_id: int
    task_id: str
    duplicate: bool
    status_changed: bool


def record_event(
    *,
    event: Mapping[str, Any],
    digest: bytes,
    source: str,
    idempotency_key: bytes | None = None,
    received_at: datetime | None = None,
    confirming: Sequence[tuple[str, Sequence[Any]]] = (),
) -> Recorded:
    """Store ``event`` and move its task's state, in one transaction; only count a duplicate.

    ``event`` and ``digest`` are what ``read_event()`` returned. ``idempotency_key`` is the sender's; without
    one, the digest is the key. ``received_at`` is now unless given. The reactions of the handlers that ask
    for the event are stored with it, and ``event_recorded`` is sent after the commit.

    ``confirming`` are conditions in SQL with their parameters, which the statement that stores the event
    checks without a further round trip. Raises ``Unconfirmed``, with nothing stored, if one does not hold
    or if the key belongs to another event; only a call without conditions tells which.

    Raises ``IdempotencyConflict`` if the key belongs to an event with another body, ``ContractViolation``
    if this database can never hold the event, and ``django.db.Error`` if nothing could be stored now.
    """
    received_at = received_at or timezone.now()
    key = _stored_key(idempotency_key) if idempotency_key is not None else digest
    row = {
        **event,
        "received_at": received_at,
        "source": source[:COLUMN_LENGTH],
        "idempotency_key": key,
        "payload_digest": digest,
    }
    state = state_of(
        event, event_id=0, received_at=received_at, tie=tie_of(digest, key), settings=app_settings()
    )
    connection = connections[router.db_for_write(TaskStatusEvent)]
    meaning = None if event["status"] is None else state["meaning"]
    match = matching(event["event_type"], event["task_type"], meaning)
    announced = event_recorded.has_listeners()
    try:
        stored = _write(connection, row, state, _returning(match, announced=announced), confirming, match)
    except (Error, UnicodeEncodeError) as error:
        reject_fault_of_data(error)
        raise
    if stored is None:
        raise Unconfirmed if confirming else IdempotencyConflict
    duplicate = stored["deliveries"] > 1
    status_changed = not duplicate and stored["status"] != stored["previous_status"]
    if announced and not duplicate:
        _announce_after_commit(row, stored, status_changed, connection)
    return Recorded(stored["id"], event["task_id"], duplicate=duplicate, status_changed=status_changed)


def _returning(match: Match | None, *, announced: bool) -> tuple[str, ...]:
    """Return the columns of the task's row to read back."""
    if announced:
        return _ALL
    if match is None:
        return _STATUSES
    return upsert.FINDING if match.finds else upsert.REACTING


def _stored_key(key: bytes) -> bytes:
    return key if len(key) <= MAX_KEY_BYTES else hashlib.sha256(key).digest()


def _write(
    connection: BaseDatabaseWrapper,
    row: Mapping[str, Any],
    state: State,
    returning: Sequence[str],
    confirming: Sequence[tuple[str, Sequence[Any]]],
    match: Match | None,
) -> Mapping[str, Any] | None:
    """Return id, deliveries and the ``returning`` columns of the task, or None if nothing is stored."""
    if connection.vendor != "postgresql" or app_settings().distributed:
        with transaction.atomic(using=connection.alias), cursor_for_long_statements(connection) as cursor:
            return _write_in_steps(cursor, row, state, returning, confirming, match)
    condition, parameters = _all_of(confirming)
    values = [*_encoded(row, upsert.EVENT_COLUMNS, connection), *parameters]
    values += _encoded(state, upsert.TASK_COLUMNS_GIVEN, connection)
    if match:
        values += [match.names, match.kinds]
    statement = upsert.record_in_one(
        ",".join(returning),
        condition,
        reacting=match is not None,
        finding=match is not None and match.finds,
    )
    with cursor_for_long_statements(connection) as cursor:
        return _execute(cursor, statement, values, (*_OF_EVENT, *returning))


def _write_in_steps(
    cursor: CursorWrapper,
    row: Mapping[str, Any],
    state: State,
    returning: Sequence[str],
    confirming: Sequence[tuple[str, Sequence[Any]]],
    match: Match | None,
) -> Mapping[str, Any] | None:
    """Do as ``_write()``, in a transaction of plain statements: Citus sends each to the task's own node."""
    connection = cursor.db
    condition, parameters = _all_of(confirming)
    if connection.vendor == "postgresql":
        # Every node has the credentials and one has the event: a statement about both would go to all nodes.
        if confirming and _execute(cursor, f"SELECT 1 WHERE {condition}", parameters, ("is_true",)) is None:
            return None
        insert, parameters = upsert.insert_event(condition=None), []
    else:
        insert = upsert.insert_event(condition=condition)
    values = [*_encoded(row, upsert.EVENT_COLUMNS, connection), *parameters]
    stored = _execute(cursor, insert, values, _OF_EVENT)
    if stored is None or stored["deliveries"] > 1:
        return stored
    state |= {"task_id": row["task_id"], **dict.fromkeys(("first_event_id", "last_event_id"), stored["id"])}
    merge = upsert.merge_task(",".join(returning), connection.vendor, reacting=match is not None)
    stored |= _execute(cursor, merge, _encoded(state, upsert.TASK_COLUMNS, connection), returning) or {}
    if match and (reactions := list(_reactions(stored, match))):
        rows = (_encoded(one, upsert.REACTION_COLUMNS, connection) for one in reactions)
        cursor.execute(upsert.insert_reactions(len(reactions)), list(chain.from_iterable(rows)))
    return stored


def _all_of(confirming: Sequence[tuple[str, Sequence[Any]]]) -> tuple[str, list[Any]]:
    """Return one condition for all, and its parameters."""
    condition = " AND ".join(sql for sql, _ in confirming) or "true"
    return condition, [value for _, parameters in confirming for value in parameters]


def _reactions(stored: Mapping[str, Any], match: Match) -> Iterator[dict[str, Any]]:
    """Yield the rows that the third part of ``record_in_one()`` inserts."""
    asked_for = {
        Reaction.Kind.EVENT.value: True,
        Reaction.Kind.CHANGE.value: stored["meaning"] != stored["previous_meaning"],
        Reaction.Kind.FOUND.value: match.finds and stored["lost_events"] == stored["event_count"] - 1,
    }
    now = timezone.now()
    for handler, kind in match.handlers:
        if asked_for[kind]:
            yield {
                "task_id": stored["task_id"],
                "handler": handler,
                "seq": stored["event_count"],
                "kind": kind,
                "event_id": stored["id"],
                "previous": stored["previous_status"],
                "status": stored["status"],
                "state": Reaction.State.PENDING.value,
                "attempts": 0,
                "excused": 0,
                "replays": 0,
                "due_at": now,
                "created_at": now,
            }


def _execute(
    cursor: CursorWrapper, statement: str, values: Sequence[Any], columns: Sequence[str]
) -> dict[str, Any] | None:
    """Return the one row of ``statement`` by its columns' names, or None if it has none."""
    cursor.execute(statement, values)
    row = cursor.fetchone()
    if "*" in columns:  # otherwise the names are known, and reading the description takes time
        columns = [column[0] for column in cursor.description]
    return row and dict(zip(columns, row, strict=True))


def _encoded(row: Mapping[str, Any], columns: Sequence[str], connection: BaseDatabaseWrapper) -> list[Any]:
    """Return the ``columns`` of ``row`` as parameters of a statement."""
    encode = _encode_postgresql if connection.vendor == "postgresql" else _encode_sqlite
    values = map(row.__getitem__, columns)
    return [value if type(value) in _SENT_AS_THEY_ARE else encode(value) for value in values]


# One event has the same time in several columns.
_text_of = lru_cache(maxsize=256)(datetime.isoformat)
# Most values are of these types: looking here first saves a call for each.
_SENT_AS_THEY_ARE = frozenset((str, int, float, bytes, type(None)))


# Everything but bytes and numbers goes to PostgreSQL as text without a type, so that one prepared
# statement serves every combination of nulls.
def _encode_postgresql(value: Any) -> Any:
    if isinstance(value, datetime):
        return _text_of(value)
    return canonical_json(value) if isinstance(value, dict) else value


def _encode_sqlite(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
    return canonical_json(value) if isinstance(value, dict) else value


def _announce_after_commit(
    row: Mapping[str, Any], stored: Mapping[str, Any], status_changed: bool, connection: BaseDatabaseWrapper
) -> None:
    task = _task_of([stored[column] for column in upsert.columns_of(Task)], connection.alias)
    event = TaskStatusEvent(id=stored["id"], deliveries=1, **row)
    event._state.adding, event._state.db = False, connection.alias
    event.task = task
    transaction.on_commit(lambda: _announce(event, task, status_changed), using=connection.alias)


def _task_of(row: Sequence[Any], using: str) -> Task:
    """Return the task that ``row`` holds, as the ORM would have loaded it."""
    compiler = Task._base_manager.using(using).query.get_compiler(using)
    fields = Task._meta.concrete_fields
    converters = compiler.get_converters([field.get_col(Task._meta.db_table) for field in fields])
    (values,) = compiler.apply_converters([row], converters) if converters else [row]
    return Task.from_db(using, [field.attname for field in fields], values)


def _announce(event: TaskStatusEvent, task: Task, status_changed: bool) -> None:
    responses = event_recorded.send_robust(
        sender=TaskStatusEvent, event=event, task=task, status_changed=status_changed
    )
    for receiver, response in responses:
        if isinstance(response, Exception):
            logger.error(
                "Receiver %r of event_recorded failed: task=%r event=%d",
                receiver,
                event.task_id,
                event.pk,
                exc_info=response,
            )
