"""Claim reactions for a worker: a claim counts the attempt, leases the row and commits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..conf import app_settings
from ..models import Handler, Reaction
from .distributed import claim_each, due_anywhere
from .sql import COLUMNS, TABLE, Which, any_of, database, fetch, is_postgresql, marks, moment, skip_locked

#: A claim looks at most at this many reactions of a handler.
LOOKAHEAD = 250
#: What a person, or a catch-up, makes due is due this much later: a claim that has begun must not see it, or
#: it could take a task that another claim takes at the same time.
CLAIM_MARGIN = timedelta(seconds=1)


def claim(
    names: Sequence[str],
    *,
    limit: int,
    lease: timedelta,
    suspects: bool = False,
    among: Sequence[int] | None = None,
    as_of: datetime | None = None,
) -> list[Reaction]:
    """Take up to ``limit`` reactions of the handlers ``names`` that are due, the longest due of each first.

    What the first handlers leave of ``limit`` is for the later ones. Of one task and handler only the
    earliest is taken, and none while another runs. A *suspect* is a reaction whose last attempt ended
    without an outcome: it may have killed its worker. With ``suspects`` only suspects are taken, otherwise
    none; with ``among`` only those ids. ``as_of`` is the moment at which they are due; now unless given.
    """
    if not names:
        return []
    connection = connections[database()]
    which = Which(suspects, among, as_of)
    if app_settings().distributed:
        return list(claim_each(connection, names, limit, lease=lease, which=which))
    picked, parameters = _picked(connection, names, limit, which)
    started, started_parameters = moment(connection, None)
    until, until_parameters = moment(connection, None, plus=lease)
    every = " UNION ALL ".join(f"SELECT id FROM p{number}" for number in range(len(picked)))
    statement = f"""
        WITH {", ".join(picked)}
        UPDATE {TABLE} SET attempts = attempts + 1, started_at = {started}, due_at = {until}
        WHERE id {any_of(connection, every)} RETURNING {",".join(COLUMNS)}
    """
    return fetch(connection, statement, [*parameters, *started_parameters, *until_parameters])


def _picked(
    connection: BaseDatabaseWrapper, names: Sequence[str], limit: int, which: Which
) -> tuple[list[str], list[Any]]:
    """Return a query for each handler that locks what is claimed of it, and their parameters.

    Each handler has its own, so that no claim has to read past what waits for another handler.
    """
    lock = skip_locked(connection)
    now, now_parameters = moment(connection, which.as_of)
    # Other workers may claim the first of them at this moment.
    few = min(2 * int(limit) + 8, LOOKAHEAD)
    picked, parameters, left = [], [], str(int(limit))
    for number, name in enumerate(names):
        due, due_values = _longest_due(connection, [name], which)
        heads, heads_values = _heads(connection, f"d{number}", which)
        # PostgreSQL reads a WITH query only as far as ``heads`` asks: the first few reactions mostly suffice.
        # The conditions are written so that no index serves them: it would read everything that is due, if it
        # believed that to be little.
        picked.append(f"""
            d{number} AS MATERIALIZED ({due}),
            p{number} AS MATERIALIZED (
                SELECT id FROM {TABLE} WHERE id {any_of(connection, f"{heads} LIMIT {few}")}
                AND (state = 'pending' AND {_started(which)} AND due_at <= {now}) IS TRUE
                ORDER BY due_at LIMIT {left} {lock}
            )
        """)
        parameters += [*due_values, *heads_values, *now_parameters]
        left += f" - (SELECT count(*) FROM p{number})"
    return picked, parameters


def _started(which: Which) -> str:
    return "started_at IS NOT NULL AND attempts > 0" if which.suspects else "started_at IS NULL"


def _among(which: Which) -> tuple[str, list[Any]]:
    ids = list(which.among or ())
    return "" if which.among is None else f"AND id IN ({marks(ids)})", ids


def _longest_due(
    connection: BaseDatabaseWrapper, names: Sequence[str], which: Which
) -> tuple[str, list[Any]]:
    """Return the query of the reactions that have been due for longest, and its parameters."""
    now, parameters = moment(connection, which.as_of)
    among, ids = _among(which)
    longest = f"""
        SELECT id, task_id, handler FROM {TABLE}
        WHERE state = 'pending' AND due_at <= {now} AND handler IN ({marks(names)})
        AND {_started(which)} {among}
        AND handler NOT IN (
            SELECT name FROM {Handler._meta.db_table} WHERE paused_at IS NOT NULL AND name IN ({marks(names)})
        )
        ORDER BY due_at LIMIT {LOOKAHEAD}
    """
    return longest, [*parameters, *names, *ids, *names]


def _heads(connection: BaseDatabaseWrapper, due: str, which: Which) -> tuple[str, list[Any]]:
    """Return the query of what can be claimed of the tasks in the WITH query ``due``, and its parameters.

    It looks once at each task, for the earliest reaction, however many wait for that. The subqueries are
    scalar, so that PostgreSQL cannot turn them into joins: whatever its statistics, each is one look into
    an index, or at the first rows of ``due``.
    """
    now, parameters = moment(connection, which.as_of)
    among, ids = _among(which)
    chain = f"FROM {TABLE} o WHERE o.task_id = r.task_id AND o.handler = r.handler AND o.state = 'pending'"
    first = f"SELECT d.id FROM {due} d WHERE d.task_id = r.task_id AND d.handler = r.handler LIMIT 1"
    # Written so that no index serves it: the one on due_at would read all that is leased or put off.
    leased = f"(o.due_at > {now}) IS TRUE"
    heads = f"""
        SELECT id FROM (
            SELECT (
                SELECT CASE WHEN {_started(which)} AND due_at <= {now} {among} THEN id END
                {chain} ORDER BY o.seq LIMIT 1
            ) AS id
            FROM {due} AS r
            WHERE r.id = ({first})
            AND 0 = (SELECT count(*) {chain} AND o.attempts > 0 AND o.started_at IS NOT NULL AND {leased})
            LIMIT {LOOKAHEAD}
        ) AS head WHERE id IS NOT NULL
    """
    return heads, [*parameters, *ids, *parameters]


def lapsed(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return the id and the attempts of each suspect that can be claimed."""
    if not names:
        return []
    connection = connections[database()]
    which = Which(suspects=True)
    longest, values = _longest_due(connection, names, which)
    heads, heads_values = _heads(connection, "due", which)
    found = any_of(connection, heads)
    query = f"WITH due AS MATERIALIZED ({longest}) SELECT id, attempts FROM {TABLE} WHERE id {found}"
    parameters = [*values, *heads_values]
    if app_settings().distributed:
        due, parameters = due_anywhere(connection, names, which)
        query = f"SELECT r.id, r.attempts {due} LIMIT {LOOKAHEAD}"
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())


def wait_for_lock() -> None:
    """Wait until SQLite's lock is free; on PostgreSQL there is nothing to wait for."""
    connection = connections[database()]
    if not is_postgresql(connection):
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {TABLE} SET id = id WHERE 1 = 0")
