"""Search and sort the list of tasks without an index, among the tasks last heard from.

Each event writes every index on its task's row, so the list gets few of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.models import Case, DurationField, ExpressionWrapper, F, Q, Value, When
from django.db.models.functions import Coalesce, Now

from ..conf import app_settings
from ..lifecycle import TERMINAL, Meaning
from ..models import Task
from ..querysets.text import ERROR_END, ERROR_START, begins_with
from .paginator import MAX_COUNT

#: An index that a host may add, over ``SEARCHED``: with it a search goes through all tasks.
INDEX = "sartiq_task_search"
SEARCHED = (
    """(task_id COLLATE "default" || ' ' || COALESCE(entity_id, '') || ' ' || COALESCE(origin_instance, '')"""
    f" || ' ' || COALESCE(RIGHT(error_message, {ERROR_END}), ''))"
)
#: An index of trigrams finds no shorter term.
SHORTEST_TERM = 3
#: The most tasks that a search finds by a part of a text.
MAX_FOUND = 1000


def found(tasks: Any, term: str) -> Q:
    """Return the condition of what a search for ``term`` finds.

    These are the tasks whose id begins with it, those about that entity, and of the tasks last heard from
    those that have it anywhere in the id, entity, instance or error, in any letter case.
    """
    return begins_with("task_id", term) | Q(entity_id=term) | Q(pk__in=_by_a_part(tasks.db, term))


def counts(tasks: Iterable[Task], now: datetime) -> dict[str, int]:
    """Count tasks in memory as ``TaskQuerySet.counts()`` does in the database."""
    counted = dict.fromkeys((*(meaning.value for meaning in Meaning), "silent", "lost"), 0)
    for task in tasks:
        counted[task.meaning] += 1
        counted["silent"] += task.is_silent(now)
        counted["lost"] += task.is_lost
    return counted


def _has(term: str, *, is_postgresql: bool) -> str:
    """Return the condition that a task has the term, its parameter, in a column or in an end of its error.

    A line break, which no term has, keeps the columns apart.
    """
    end = f"RIGHT(error_message, {ERROR_END})" if is_postgresql else f"SUBSTR(error_message, -{ERROR_END})"
    ends = f"SUBSTR(error_message, 1, {ERROR_START})", end
    columns = ("task_id", *(f"COALESCE({one}, '')" for one in ("entity_id", "origin_instance", *ends)))
    text = f"({' || CHR(10) || '.join(columns)})"
    if not is_postgresql:
        return rf"{text.replace('CHR', 'CHAR')} LIKE %s ESCAPE '\'"
    # Collation "C" knows the letters of ASCII alone, and takes a third of the time.
    collation = "C" if term.isascii() else "default"
    return f'UPPER({text} COLLATE "{collation}") LIKE UPPER(%s COLLATE "{collation}")'


def _by_a_part(using: str, term: str) -> set[str]:
    """Return the ids of tasks that have the term anywhere: those last heard from, and those in the index."""
    connection = connections[using]
    is_postgresql = connection.vendor == "postgresql"
    table = connection.ops.quote_name(Task._meta.db_table)
    anywhere = f"%{connection.ops.prep_for_like_query(term)}%"
    sql = f"""
        SELECT * FROM (
            SELECT task_id FROM (
                SELECT task_id, entity_id, origin_instance, error_message, last_received_at
                FROM {table} ORDER BY last_received_at DESC LIMIT {MAX_COUNT}
            ) AS newest WHERE {_has(term, is_postgresql=is_postgresql)}
            ORDER BY last_received_at DESC LIMIT {MAX_FOUND}
        ) AS found
    """  # noqa: S608 (constants: without the numbers PostgreSQL would plan to sort the whole table)
    queries = [(sql, [anywhere])]
    if is_postgresql:
        # A row of NULL says that there is the index.
        queries.append(
            ("SELECT NULL FROM pg_index WHERE indexrelid = to_regclass(%s) AND indisvalid", [INDEX])
        )
    if not app_settings().distributed:  # Citus mixes no catalogue with its tables
        parts, parameters = zip(*queries, strict=True)
        queries = [(" UNION ALL ".join(parts), [one for some in parameters for one in some])]
    with connection.cursor() as cursor:
        found = set()
        for query, given in queries:
            cursor.execute(query, given)
            found |= {task_id for (task_id,) in cursor.fetchall()}
        if None in found and len(term) >= SHORTEST_TERM:
            cursor.execute(
                f"SELECT task_id FROM {table} WHERE {SEARCHED} ILIKE %s LIMIT %s",  # noqa: S608 (constants)
                [anywhere, MAX_FOUND],
            )
            found |= {task_id for (task_id,) in cursor.fetchall()}
    return found - {None}


_HAS_RETURNED = Q(last_queued_at__gt=F("first_ended_at")) | Q(last_running_at__gt=F("first_ended_at"))
_END = Coalesce(
    "completed_at",
    Case(When(_HAS_RETURNED, then=Value(None)), default=F("first_ended_at")),
    "status_at",
    "last_event_at",
)
#: ``Task.duration()``, to sort by.
DURATION = ExpressionWrapper(
    Case(When(meaning__in=sorted(TERMINAL), then=_END), default=Now())
    - Coalesce("started_at", "first_event_at"),
    output_field=DurationField(),
)
