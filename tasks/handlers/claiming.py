"""Which reactions a worker takes: a claim counts the attempt, leases the row and commits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from ..conf import app_settings
from ..models import Handler, Reaction

_TABLE = Reaction._meta.db_table
_COLUMNS = tuple(str(field.column) for field in Reaction._meta.concrete_fields)


def database() -> str:
    """Return the alias of the database that reactions are written to."""
    return router.db_for_write(Reaction)


def claim(
    names: Sequence[str],
    *,
    limit: int,
    lease: timedelta,
    suspects: bool = False,
    among: Sequence[int] | None = None,
    as_of: datetime | None = None,
) -> list[Reaction]:
    """Take up to ``limit`` reactions of the handlers ``names`` that are due: of each the longest due first.

    What the first handlers leave of ``limit`` is for the later ones. Of one task and handler only the
    earliest is taken, and none while another is being run. A *suspect* is a reaction whose last attempt
    ended without an outcome: its worker may have died of it. With ``suspects`` only those are taken,
    otherwise only others; with ``among`` only those ids.
    """
    if not names:
        return []
    connection = connections[database()]
    if app_settings().distributed:
        return list(
            _claim_each(connection, names, limit, lease=lease, suspects=suspects, among=among, as_of=as_of)
        )
    lock = "FOR UPDATE SKIP LOCKED" if _is_postgresql(connection) else ""
    picked, parameters, left = [], [], str(int(limit))
    # Each by itself, so that no claim has to read past what waits for another one.
    for number, name in enumerate(names):
        due, values = _due(connection, [name], suspects=suspects, among=among, as_of=as_of)
        picked.append(f"p{number} AS MATERIALIZED (SELECT r.id {due} ORDER BY r.due_at LIMIT {left} {lock})")
        parameters += values
        left += f" - (SELECT count(*) FROM p{number})"
    started, started_parameters = _now(connection, None)
    until, until_parameters = _now(connection, None, plus=lease)
    every = " UNION ALL ".join(f"SELECT id FROM p{number}" for number in range(len(picked)))
    statement = f"""
        WITH {", ".join(picked)}
        UPDATE {_TABLE} SET attempts = attempts + 1, started_at = {started}, due_at = {until}
        WHERE id {_among(connection, every)} RETURNING {",".join(_COLUMNS)}
    """
    return _fetch(connection, statement, [*parameters, *started_parameters, *until_parameters])


def _claim_each(
    connection: BaseDatabaseWrapper, names: Sequence[str], limit: int, *, lease: timedelta, **which: Any
) -> Iterator[Reaction]:
    """Do as ``claim()``, row by row: Citus locks rows of one task at a time."""
    lock = "FOR UPDATE SKIP LOCKED" if _is_postgresql(connection) else ""
    started, started_parameters = _now(connection, None)
    until, until_parameters = _now(connection, None, plus=lease)
    for name in names:
        due, parameters = _due(connection, [name], **which)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT r.task_id, r.id {due} ORDER BY r.due_at LIMIT {int(limit)}", parameters)
            found = cursor.fetchall()
        picked = f"SELECT r.id {due} AND r.task_id = %s AND r.id = %s {lock}"
        statement = f"""
            UPDATE {_TABLE} SET attempts = attempts + 1, started_at = {started}, due_at = {until}
            WHERE task_id = %s AND id {_among(connection, picked)} RETURNING {",".join(_COLUMNS)}
        """
        for task_id, key in found:
            values = [*started_parameters, *until_parameters, task_id, *parameters, task_id, key]
            for one in _fetch(connection, statement, values):
                limit -= 1
                yield one


def _due(
    connection: BaseDatabaseWrapper,
    names: Sequence[str],
    *,
    suspects: bool,
    among: Sequence[int] | None = None,
    as_of: datetime | None = None,
) -> tuple[str, list[Any]]:
    """Return FROM and WHERE of the reactions that can be claimed, and their parameters."""
    now, parameters = _now(connection, as_of)
    due = f"""
        FROM {_TABLE} r
        WHERE r.state = 'pending' AND r.due_at <= {now} AND r.handler IN ({_marks(names)})
        AND r.started_at IS {"NOT NULL" if suspects else "NULL"}
        {"" if among is None else f"AND r.id IN ({_marks(among)})"}
        AND r.handler NOT IN (
            SELECT h.name FROM {Handler._meta.db_table} h WHERE h.paused_at IS NOT NULL
            AND h.name IN ({_marks(names)})
        )
        AND NOT EXISTS (
            SELECT 1 FROM {_TABLE} o
            WHERE o.task_id = r.task_id AND o.handler = r.handler AND o.state = 'pending'
            AND (
                o.seq < r.seq OR (o.seq = r.seq AND o.id < r.id)
                OR (o.id <> r.id AND o.started_at IS NOT NULL AND o.due_at > {now})
            )
        )
    """
    return due, [*parameters, *names, *(among or ()), *names, *parameters]


def lapsed(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return id and attempts of the suspects that can be claimed."""
    if not names:
        return []
    connection = connections[database()]
    due, parameters = _due(connection, names, suspects=True)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT r.id, r.attempts {due} ORDER BY r.due_at, r.id LIMIT 1000", parameters)
        return list(cursor.fetchall())


def extend(reactions: Iterable[Reaction], *, lease: timedelta) -> None:
    """Lease what is being run for longer; what was taken over meanwhile is left alone.

    A row that is locked is left alone too: an atomic run has locked its own, which no other worker
    can take meanwhile.
    """
    # Citus locks rows of one task at a time.
    held = list(reactions)
    for batch in [[one] for one in held] if app_settings().distributed else [held]:
        if batch:
            _extend(batch, lease)


def _extend(held: Sequence[Reaction], lease: timedelta) -> None:
    connection = connections[database()]
    until, parameters = _now(connection, None, plus=lease)
    tasks = [one.task_id for one in held]
    mine = " OR ".join(["(task_id = %s AND id = %s AND attempts = %s)"] * len(held))
    lock = "FOR UPDATE SKIP LOCKED" if _is_postgresql(connection) else ""
    picked = f"SELECT id FROM {_TABLE} WHERE state = 'pending' AND ({mine}) {lock}"
    values = [value for one in held for value in (one.task_id, one.pk, one.attempts)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_TABLE} SET due_at = {until}"
            f" WHERE task_id IN ({_marks(tasks)}) AND id {_among(connection, picked)}",
            [*parameters, *tasks, *values],
        )


def begin(reaction: Reaction, *, lease: timedelta) -> bool:
    """Lease a reaction from now on, just before its handler is called; return whether it is still held."""
    connection = connections[database()]
    until, parameters = _now(connection, None, plus=lease)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_TABLE} SET due_at = {until}"
            " WHERE task_id = %s AND id = %s AND attempts = %s AND state = 'pending'",
            [*parameters, reaction.task_id, reaction.pk, reaction.attempts],
        )
        return bool(cursor.rowcount)


def wait_for_lock() -> None:
    """Wait until SQLite's lock is free; on PostgreSQL no claim waits for one."""
    connection = connections[database()]
    if not _is_postgresql(connection):
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {_TABLE} SET id = id WHERE 1 = 0")


def give_back(reactions: Iterable[Reaction]) -> None:
    """Return reactions that were claimed and not begun; the attempt does not count."""
    for one in reactions:
        mine = Reaction.objects.using(database()).filter(task_id=one.task_id, pk=one.pk)
        mine.filter(attempts=one.attempts, state=Reaction.State.PENDING).update(
            excused=one.excused + 1, started_at=None, due_at=timezone.now()
        )


def put_off_blocked() -> int:
    """Put what waits for an earlier reaction off until that is due, so that no claim has to look at it."""
    connection = connections[database()]
    now, parameters = _now(connection, None)
    statement = f"""
        UPDATE {_TABLE} AS r SET due_at = h.due_at FROM {_TABLE} AS h
        WHERE r.state = 'pending' AND r.due_at <= {now} AND r.started_at IS NULL
        AND h.task_id = r.task_id AND h.handler = r.handler AND h.state = 'pending'
        AND h.seq < r.seq AND h.due_at > {now} AND h.started_at IS NULL
    """
    with connection.cursor() as cursor:
        cursor.execute(statement, [*parameters, *parameters])
        return int(cursor.rowcount)


def _now(
    connection: BaseDatabaseWrapper, as_of: datetime | None, *, plus: timedelta = timedelta()
) -> tuple[str, list[Any]]:
    """Return SQL for a moment and its parameters: by the server's clock, which all workers share."""
    if _is_postgresql(connection) and as_of is None:
        return f"statement_timestamp() + interval '{plus.total_seconds():f} seconds'", []
    moment = (as_of or timezone.now()) + plus
    return "%s", [connection.ops.adapt_datetimefield_value(moment)]


def _among(connection: BaseDatabaseWrapper, picked: str) -> str:
    """Return the condition that an id is one of those that the query ``picked`` returns."""
    # PostgreSQL makes an array once; it might run a subquery that locks and limits for each row.
    return f"= ANY(ARRAY({picked}))" if _is_postgresql(connection) else f"IN ({picked})"


def _is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql"


def _fetch(connection: BaseDatabaseWrapper, statement: str, parameters: list[Any]) -> list[Reaction]:
    # RawQuerySet converts the columns as the ORM does.
    rows = Reaction.objects.using(connection.alias).raw(statement, parameters)
    return sorted(rows, key=lambda one: (one.created_at, one.seq, one.pk))


def _marks(values: Sequence[object]) -> str:
    return ",".join("%s" for _ in values) or "NULL"
