"""Put off reactions that wait for an earlier one, so that no claim has to read past them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from ..conf import app_settings
from ..models import Reaction
from .claiming import LOOKAHEAD
from .sql import TABLE, any_of, database, is_postgresql, moment, skip_locked

#: At most this many reactions of one task and handler are due at once; later ones are put off meanwhile.
CHAIN = 5
CHAIN_PAUSE = timedelta(minutes=1)
#: A statement puts off at most this many, so that nobody waits long for the locks that it takes.
BATCH = 1000


def put_off_blocked(turn: AbstractContextManager[Any] | None = None) -> int:
    """Put off reactions that wait for an earlier one until that is due; return how many.

    Each batch is written within ``turn``.
    """
    return _in_batches(_put_off, turn)


def shorten_chains(turn: AbstractContextManager[Any] | None = None) -> int:
    """Put off reactions that wait for many earlier ones of their task and handler; return how many.

    They are put off for ``CHAIN_PAUSE``, or until ``mark_done()`` lets them go on. Each batch is written
    within ``turn``.
    """
    return 0 if app_settings().distributed else _in_batches(_shorten, turn)


def _in_batches(put_off: Callable[[], int], turn: AbstractContextManager[Any] | None) -> int:
    total, changed = 0, BATCH
    while changed == BATCH:
        with turn or nullcontext():
            changed = put_off()
        total += changed
    return total


def _put_off() -> int:
    # The search begins at reactions that were tried and put off themselves: each task has few of them.
    connection = connections[database()]
    if app_settings().distributed or not is_postgresql(connection):
        return _put_off_joined(connection)
    now, parameters = moment(connection, None)
    put_off = f"""
        h.state = 'pending' AND h.attempts > 0 AND h.due_at > {now} AND h.started_at IS NULL
        AND h.task_id = r.task_id AND h.handler = r.handler
    """
    # PostgreSQL must not find ``h`` by ``seq``: that reads all earlier ones.
    waits = f"""
        SELECT r.id FROM {TABLE} h CROSS JOIN {TABLE} r
        WHERE {put_off} AND (r.seq > h.seq) IS TRUE
        AND r.state = 'pending' AND r.due_at <= {now} AND r.started_at IS NULL
        LIMIT {BATCH} FOR UPDATE OF r SKIP LOCKED
    """
    until = f"(SELECT MAX(h.due_at) FROM {TABLE} h WHERE {put_off})"
    picked = any_of(connection, waits)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} AS r SET due_at = COALESCE({until}, due_at) WHERE id {picked}",
            [*parameters, *parameters, *parameters],
        )
        return int(cursor.rowcount)


def _put_off_joined(connection: BaseDatabaseWrapper) -> int:
    """Do as ``_put_off()``, by a join: SQLite runs it in this order, and Citus at once on every node."""
    now, parameters = moment(connection, None)
    most = "" if app_settings().distributed else f"LIMIT {BATCH}"
    waits = f"""
        SELECT r.task_id, r.id, h.due_at FROM {TABLE} h CROSS JOIN {TABLE} r
        WHERE h.state = 'pending' AND h.attempts > 0 AND h.due_at > {now} AND h.started_at IS NULL
        AND r.task_id = h.task_id AND r.handler = h.handler AND r.seq > h.seq
        AND r.state = 'pending' AND r.due_at <= {now} AND r.started_at IS NULL
        {most}
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} AS r SET due_at = w.due_at FROM ({waits}) AS w"
            " WHERE r.task_id = w.task_id AND r.id = w.id",
            [*parameters, *parameters],
        )
        return int(cursor.rowcount)


def is_crowded(names: Sequence[str]) -> bool:
    """Return whether a handler of ``names`` has more reactions due than half of what a claim looks at."""
    due = Reaction.objects.using(database()).pending().filter(due_at__lte=timezone.now())
    places = slice(LOOKAHEAD // 2, LOOKAHEAD // 2 + 1)
    return any(due.filter(handler=name).order_by("due_at").values_list("pk")[places] for name in names)


def _shorten() -> int:
    connection = connections[database()]
    now, parameters = moment(connection, None)
    later, later_parameters = moment(connection, None, plus=CHAIN_PAUSE)
    places = f"""
        SELECT id FROM (
            SELECT id, row_number() OVER (PARTITION BY task_id, handler ORDER BY seq) AS place
            FROM {TABLE} WHERE state = 'pending' AND due_at <= {now} AND attempts = 0
        ) AS due WHERE place > {CHAIN}
    """
    waits = f"id {any_of(connection, places)} AND state = 'pending'"
    picked = f"SELECT id FROM {TABLE} WHERE {waits} LIMIT {BATCH} {skip_locked(connection)}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET due_at = {later} WHERE id {any_of(connection, picked)}",
            [*later_parameters, *parameters],
        )
        return int(cursor.rowcount)
