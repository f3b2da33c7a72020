"""Claims on Citus, which locks rows of one task at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ..models import Handler, Reaction
from .sql import COLUMNS, TABLE, Which, any_of, fetch, marks, moment, skip_locked


def claim_each(
    connection: BaseDatabaseWrapper, names: Sequence[str], limit: int, *, lease: timedelta, which: Which
) -> Iterator[Reaction]:
    """Do as ``claim()``, row by row."""
    started, started_parameters = moment(connection, None)
    until, until_parameters = moment(connection, None, plus=lease)
    for name in names:
        due, parameters = due_anywhere(connection, [name], which)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT r.task_id, r.id {due} ORDER BY r.due_at LIMIT {int(limit)}", parameters)
            found = cursor.fetchall()
        picked = f"SELECT r.id {due} AND r.task_id = %s AND r.id = %s {skip_locked(connection)}"
        statement = f"""
            UPDATE {TABLE} SET attempts = attempts + 1, started_at = {started}, due_at = {until}
            WHERE task_id = %s AND id {any_of(connection, picked)} RETURNING {",".join(COLUMNS)}
        """
        for task_id, key in found:
            values = [*started_parameters, *until_parameters, task_id, *parameters, task_id, key]
            for one in fetch(connection, statement, values):
                limit -= 1
                yield one


def due_anywhere(
    connection: BaseDatabaseWrapper, names: Sequence[str], which: Which
) -> tuple[str, list[Any]]:
    """Return FROM and WHERE for what can be claimed, on whichever node, and their parameters."""
    now, parameters = moment(connection, which.as_of)
    due = f"""
        FROM {TABLE} r
        WHERE r.state = 'pending' AND r.due_at <= {now} AND r.handler IN ({marks(names)})
        AND r.started_at IS {"NOT NULL" if which.suspects else "NULL"}
        {"" if which.among is None else f"AND r.id IN ({marks(which.among)})"}
        AND r.handler NOT IN (
            SELECT h.name FROM {Handler._meta.db_table} h WHERE h.paused_at IS NOT NULL
            AND h.name IN ({marks(names)})
        )
        AND NOT EXISTS (
            SELECT 1 FROM {TABLE} o
            WHERE o.task_id = r.task_id AND o.handler = r.handler AND o.state = 'pending'
            AND (
                o.seq < r.seq OR (o.seq = r.seq AND o.id < r.id)
                OR (o.id <> r.id AND o.started_at IS NOT NULL AND o.due_at > {now})
            )
        )
    """
    return due, [*parameters, *names, *(which.among or ()), *names, *parameters]
