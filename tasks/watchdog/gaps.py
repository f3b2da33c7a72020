"""The gaps between events of running tasks, read from the ledger, by which to choose a limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, router

from ..conf import app_settings
from ..lifecycle import Meaning, meaning_of
from ..models import TaskStatusEvent
from ..querysets.scans import known_values

_TABLE = TaskStatusEvent._meta.db_table
_SECONDS = {
    "postgresql": "EXTRACT(EPOCH FROM received_at - before)",
    "sqlite": "ROUND((julianday(received_at) - julianday(before)) * 86400, 3)",
}
_SHARES = ("0.5", "0.99", "0.999")


@dataclass(frozen=True, slots=True)
class Gaps:
    """How long the running tasks of one type sent no event."""

    task_type: str
    tasks: int
    number: int
    #: The gaps that 50, 99 and 99.9 percent of all gaps do not exceed, and the longest.
    lengths: tuple[timedelta, ...]
    #: How many tasks had a gap longer than each limit.
    tasks_beyond: tuple[int, ...]


def gaps(*, since: datetime, limits: Sequence[timedelta]) -> list[Gaps]:
    """Return for each task type the gaps between a running task's events received from ``since`` on.

    It reads that part of the ledger whole, for a report that a person asks for. A gap is from an
    event whose status means that the task runs to the next one received.
    """
    connection = connections[router.db_for_read(TaskStatusEvent)]
    running = _running_statuses(connection.alias)
    beyond = "".join(
        f", COUNT(DISTINCT CASE WHEN gap > {limit.total_seconds()} THEN task_id END)" for limit in limits
    )
    ranks = ", ".join(f"MIN(CASE WHEN place >= {share} * number THEN gap END)" for share in _SHARES)
    sql = f"""
        WITH received AS (
            SELECT task_id, task_type, received_at,
                LAG(received_at) OVER w AS before, LAG(status) OVER w AS status_before
            FROM {_TABLE} WHERE received_at >= %s WINDOW w AS (PARTITION BY task_id ORDER BY id)
        ),
        gaps AS (
            SELECT task_id, task_type, {_SECONDS[connection.vendor]} AS gap FROM received
            WHERE before IS NOT NULL AND status_before IN ({",".join("%s" for _ in running) or "NULL"})
        ),
        ranked AS (
            SELECT task_id, task_type, gap,
                ROW_NUMBER() OVER (PARTITION BY task_type ORDER BY gap) AS place,
                COUNT(*) OVER (PARTITION BY task_type) AS number
            FROM gaps
        )
        SELECT task_type, COUNT(DISTINCT task_id), MAX(number), {ranks}, MAX(gap){beyond}
        FROM ranked GROUP BY task_type ORDER BY task_type
    """  # noqa: S608 (the variable parts are a table's name, numbers and placeholders)
    with connection.cursor() as cursor:
        cursor.execute(sql, [connection.ops.adapt_datetimefield_value(since), *running])
        return [_gaps(row) for row in cursor.fetchall()]


def _gaps(row: Sequence[Any]) -> Gaps:
    end = 3 + len(_SHARES) + 1
    lengths = tuple(timedelta(seconds=float(seconds)) for seconds in row[3:end])
    return Gaps(row[0], row[1], row[2], lengths, tuple(row[end:]))


def _running_statuses(using: str) -> list[str]:
    """Return the statuses that the ledger knows and that mean that a task runs."""
    settings = app_settings()
    known = known_values(TaskStatusEvent, "status", using=using, most=1000)
    return [status for status in known if meaning_of(status, settings) is Meaning.RUNNING]
