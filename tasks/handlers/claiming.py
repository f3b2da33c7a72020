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
#: So many reactions of one task and handler may be due at once; the later ones are put off meanwhile.
CHAIN = 10
CHAIN_PAUSE = timedelta(minutes=1)
#: So many of a handler's are looked at by a claim.
LOOKAHEAD = 500
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
    now, now_parameters = _now(connection, as_of)
    picked, parameters, left = [], [], str(int(limit))
    # Each by itself, so that no claim has to read past what waits for another one.
    for number, name in enumerate(names):
        due, values = _due(connection, [name], suspects=suspects, among=among, as_of=as_of)
        # Other workers may claim the first of them at this moment.
        heads = f"SELECT id FROM ({due}) AS head LIMIT {4 * int(limit)}"
        picked.append(f"""
            p{number} AS MATERIALIZED (
                SELECT id FROM {_TABLE} WHERE id {_among(connection, heads)}
                AND state = 'pending' AND {_started(suspects)} AND due_at <= {now}
                ORDER BY due_at LIMIT {left} {lock}
            )
        """)
        parameters += [*values, *now_parameters]
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
        due, parameters = _due_anywhere(connection, [name], **which)
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


def _started(suspects: bool) -> str:
    return f"started_at IS {'NOT NULL' if suspects else 'NULL'}"


def _due(
    connection: BaseDatabaseWrapper,
    names: Sequence[str],
    *,
    suspects: bool,
    among: Sequence[int] | None = None,
    as_of: datetime | None = None,
) -> tuple[str, list[Any]]:
    """Return the query of what can be claimed, and its parameters.

    The subqueries are scalar, so that PostgreSQL makes no join of them: whatever it believes of the
    table, each costs a look into an index, for at most ``LOOKAHEAD`` rows.
    """
    now, parameters = _now(connection, as_of)
    due = f"""
        SELECT r.id, r.attempts FROM (
            SELECT id, task_id, handler, attempts FROM {_TABLE}
            WHERE state = 'pending' AND due_at <= {now} AND handler IN ({_marks(names)})
            AND {_started(suspects)}
            {"" if among is None else f"AND id IN ({_marks(among)})"}
            AND handler NOT IN (
                SELECT name FROM {Handler._meta.db_table}
                WHERE paused_at IS NOT NULL AND name IN ({_marks(names)})
            )
            ORDER BY due_at LIMIT {LOOKAHEAD}
        ) AS r
        WHERE r.id = (
            SELECT o.id FROM {_TABLE} o
            WHERE o.task_id = r.task_id AND o.handler = r.handler AND o.state = 'pending'
            ORDER BY o.seq LIMIT 1
        )
        AND 0 = (
            SELECT count(*) FROM {_TABLE} o
            WHERE o.task_id = r.task_id AND o.handler = r.handler AND o.state = 'pending'
            AND o.started_at IS NOT NULL AND o.due_at > {now} AND o.id <> r.id
        )
    """
    return due, [*parameters, *names, *(among or ()), *names, *parameters]


def _due_anywhere(
    connection: BaseDatabaseWrapper,
    names: Sequence[str],
    *,
    suspects: bool,
    among: Sequence[int] | None = None,
    as_of: datetime | None = None,
) -> tuple[str, list[Any]]:
    """Do as ``_due()``, as FROM and WHERE of a statement that Citus sends to every node."""
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
    query, parameters = _due(connection, names, suspects=True)
    if app_settings().distributed:
        due, parameters = _due_anywhere(connection, names, suspects=True)
        query = f"SELECT r.id, r.attempts {due} LIMIT {LOOKAHEAD}"
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())


def is_crowded(names: Sequence[str]) -> bool:
    """Return whether so much is due of one of the handlers ``names`` that a claim may not see all of it."""
    due = Reaction.objects.using(database()).pending().filter(due_at__lte=timezone.now())
    places = slice(LOOKAHEAD // 2, LOOKAHEAD // 2 + 1)
    return any(due.filter(handler=name).order_by("due_at").values_list("pk")[places] for name in names)


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
    waits = f"""
        SELECT r.task_id, r.id, h.due_at FROM {_TABLE} r JOIN {_TABLE} h
        ON h.task_id = r.task_id AND h.handler = r.handler AND h.state = 'pending' AND h.seq < r.seq
        WHERE r.state = 'pending' AND r.due_at <= {now} AND r.started_at IS NULL
        AND h.due_at > {now} AND h.started_at IS NULL
        {"FOR UPDATE OF r SKIP LOCKED" if _locks_rows(connection) else ""}
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_TABLE} AS r SET due_at = w.due_at FROM ({waits}) AS w"
            " WHERE r.task_id = w.task_id AND r.id = w.id",
            [*parameters, *parameters],
        )
        return int(cursor.rowcount)


def shorten_chains() -> int:
    """Put off what waits for many earlier ones of its task and handler, so that no claim reads past it.

    It is put off for a while, and let go on by ``mark_done()``.
    """
    if app_settings().distributed:
        return 0
    connection = connections[database()]
    now, parameters = _now(connection, None)
    later, later_parameters = _now(connection, None, plus=CHAIN_PAUSE)
    places = f"""
        SELECT id FROM (
            SELECT id, row_number() OVER (PARTITION BY task_id, handler ORDER BY seq) AS place
            FROM {_TABLE} WHERE state = 'pending' AND due_at <= {now} AND attempts = 0
        ) AS due WHERE place > {CHAIN}
    """
    lock = "FOR UPDATE SKIP LOCKED" if _is_postgresql(connection) else ""
    picked = f"SELECT id FROM {_TABLE} WHERE id {_among(connection, places)} AND state = 'pending' {lock}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_TABLE} SET due_at = {later} WHERE id {_among(connection, picked)}",
            [*later_parameters, *parameters],
        )
        return int(cursor.rowcount)


def mark_done(reaction: Reaction) -> bool:
    """Mark a reaction as done and let the next ones of its task go on; return whether it was still held."""
    connection = connections[database()]
    now, parameters = _now(connection, None)
    done = f"""
        UPDATE {_TABLE} SET state = 'done', ended_at = {now}, error = NULL
        WHERE task_id = %s AND id = %s AND attempts = %s AND state = 'pending' RETURNING id
    """
    values = [*parameters, reaction.task_id, reaction.pk, reaction.attempts]
    release, release_values = _release(connection, reaction)
    with connection.cursor() as cursor:
        if _locks_rows(connection):
            # In one round trip.
            statement = f"WITH done AS ({done}), released AS ({release}) SELECT count(*) FROM done"
            cursor.execute(statement, [*values, *release_values])
            return bool(cursor.fetchone()[0])
        cursor.execute(done, values)
        is_done = cursor.fetchone() is not None
        cursor.execute(release, release_values)
        return is_done


def release(reaction: Reaction) -> None:
    """Let the next reactions of a task go on, when an earlier one has ended."""
    connection = connections[database()]
    with connection.cursor() as cursor:
        cursor.execute(*_release(connection, reaction))


def _release(connection: BaseDatabaseWrapper, reaction: Reaction) -> tuple[str, list[Any]]:
    now, parameters = _now(connection, None)
    following = f"""
        SELECT id FROM {_TABLE} WHERE task_id = %s AND handler = %s AND state = 'pending' AND seq > %s
        ORDER BY seq LIMIT {CHAIN}
    """
    statement = f"""
        UPDATE {_TABLE} SET due_at = {now} WHERE task_id = %s AND id {_among(connection, following)}
        AND state = 'pending' AND attempts = 0 AND due_at > {now}
    """
    task_id = reaction.task_id
    return statement, [*parameters, task_id, task_id, reaction.handler, reaction.seq, *parameters]


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


def _locks_rows(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a statement can lock rows of several tasks, and change several tables at once."""
    return _is_postgresql(connection) and not app_settings().distributed


def _is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql"


def _fetch(connection: BaseDatabaseWrapper, statement: str, parameters: list[Any]) -> list[Reaction]:
    # RawQuerySet converts the columns as the ORM does.
    rows = Reaction.objects.using(connection.alias).raw(statement, parameters)
    return sorted(rows, key=lambda one: (one.created_at, one.seq, one.pk))


def _marks(values: Sequence[object]) -> str:
    return ",".join("%s" for _ in values) or "NULL"
