"""Keep, mark and give back the reactions that a worker has claimed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from ..conf import app_settings
from ..models import Reaction
from .blocked import CHAIN
from .sql import TABLE, any_of, database, locks_rows, marks, moment, skip_locked


def begin(reaction: Reaction, *, lease: timedelta) -> bool:
    """Renew the lease just before the handler is called; return False if another worker has the reaction."""
    connection = connections[database()]
    until, parameters = moment(connection, None, plus=lease)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET due_at = {until}"
            " WHERE task_id = %s AND id = %s AND attempts = %s AND state = 'pending'",
            [*parameters, reaction.task_id, reaction.pk, reaction.attempts],
        )
        return bool(cursor.rowcount)


def extend(reactions: Iterable[Reaction], *, lease: timedelta) -> None:
    """Extend the leases of ``reactions`` that no other worker has taken over.

    Rows that are locked are left alone: an atomic run has locked its own, so no other worker can take it.
    """
    # Citus locks rows of one task at a time.
    held = list(reactions)
    for batch in [[one] for one in held] if app_settings().distributed else [held]:
        if batch:
            _extend(batch, lease)


def _extend(held: Sequence[Reaction], lease: timedelta) -> None:
    connection = connections[database()]
    until, parameters = moment(connection, None, plus=lease)
    tasks = [one.task_id for one in held]
    mine = " OR ".join(["(task_id = %s AND id = %s AND attempts = %s)"] * len(held))
    picked = f"SELECT id FROM {TABLE} WHERE state = 'pending' AND ({mine}) {skip_locked(connection)}"
    values = [value for one in held for value in (one.task_id, one.pk, one.attempts)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET due_at = {until}"
            f" WHERE task_id IN ({marks(tasks)}) AND id {any_of(connection, picked)}",
            [*parameters, *tasks, *values],
        )


def give_back(reactions: Iterable[Reaction]) -> None:
    """Give back reactions that were claimed and not begun; the attempt does not count."""
    for one in reactions:
        mine = Reaction.objects.using(database()).filter(task_id=one.task_id, pk=one.pk)
        mine.filter(attempts=one.attempts, state=Reaction.State.PENDING).update(
            excused=one.excused + 1, started_at=None, due_at=timezone.now()
        )


def mark_done(reaction: Reaction) -> bool:
    """Mark a reaction as done, and let the next ones of its task go on; return whether it was still held."""
    connection = connections[database()]
    now, parameters = moment(connection, None)
    done = f"""
        UPDATE {TABLE} SET state = 'done', ended_at = {now}, error = NULL
        WHERE task_id = %s AND id = %s AND attempts = %s AND state = 'pending' RETURNING id
    """
    values = [*parameters, reaction.task_id, reaction.pk, reaction.attempts]
    release, release_values = _release(connection, reaction)
    with connection.cursor() as cursor:
        if locks_rows(connection):
            # In one round trip.
            statement = f"WITH done AS ({done}), released AS ({release}) SELECT count(*) FROM done"
            cursor.execute(statement, [*values, *release_values])
            return bool(cursor.fetchone()[0])
        cursor.execute(done, values)
        is_done = cursor.fetchone() is not None
        cursor.execute(release, release_values)
        return is_done


def release(reaction: Reaction) -> None:
    """Let the next reactions of the task go on."""
    connection = connections[database()]
    with connection.cursor() as cursor:
        cursor.execute(*_release(connection, reaction))


def _release(connection: BaseDatabaseWrapper, reaction: Reaction) -> tuple[str, list[Any]]:
    now, parameters = moment(connection, None)
    following = f"""
        SELECT id FROM {TABLE} WHERE task_id = %s AND handler = %s AND state = 'pending' AND seq > %s
        ORDER BY seq LIMIT {CHAIN}
    """
    statement = f"""
        UPDATE {TABLE} SET due_at = {now} WHERE task_id = %s AND id {any_of(connection, following)}
        AND state = 'pending' AND attempts = 0 AND due_at > {now}
    """
    task_id = reaction.task_id
    return statement, [*parameters, task_id, task_id, reaction.handler, reaction.seq, *parameters]
