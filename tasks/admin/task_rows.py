"""What the list of tasks finds and sorts by without an index: among the tasks heard of last.

Every index on a task's row is written with each event, so that the list has one for little else.
"""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models import Case, DurationField, ExpressionWrapper, F, Q, Value, When
from django.db.models.functions import Coalesce, Now

from ..lifecycle import TERMINAL
from ..models import Task
from ..querysets.text import ERROR_END, begins_with
from .paginator import MAX_COUNT

#: An index that a host may add, over ``SEARCHED``: with it a search goes through all tasks.
INDEX = "sartiq_task_search"
SEARCHED = (
    """(task_id COLLATE "default" || ' ' || COALESCE(entity_id, '') || ' ' || COALESCE(origin_instance, '')"""
    f" || ' ' || COALESCE(RIGHT(error_message, {ERROR_END}), ''))"
)
#: An index of trigrams finds no shorter term.
SHORTEST_TERM = 3
#: The most that are found by a part of a text.
MAX_FOUND = 1000


def found(tasks: Any, term: str) -> Q:
    """Return the condition of what a search for ``term`` finds.

    These are the tasks whose id begins with it, those about that entity, and of the tasks heard of last
    those that have it anywhere in the id, entity, instance or error, in any letter case.
    """
    by_a_part = {*_in_newest(tasks, term), *_by_index(tasks.db, term)}
    return begins_with("task_id", term) | Q(entity_id=term) | Q(pk__in=by_a_part)


def _in_newest(tasks: Any, term: str) -> list[str]:
    newest = tasks.model._default_manager.using(tasks.db).among_newest(MAX_COUNT)
    told = newest.with_ends_of_error().order_by("-last_received_at")
    columns = ("task_id", "entity_id", "origin_instance", "error_start", "error_end")
    anywhere = Q(*((f"{column}__icontains", term) for column in columns), _connector=Q.OR)
    return list(told.filter(anywhere).values_list("pk", flat=True)[:MAX_FOUND])


def _by_index(using: str, term: str) -> list[str]:
    connection = connections[using]
    if connection.vendor != "postgresql" or len(term) < SHORTEST_TERM:
        return []
    table = connection.ops.quote_name(Task._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COUNT(*) FROM pg_index WHERE indexrelid = to_regclass(%s) AND indisvalid", [INDEX]
        )
        if cursor.fetchone() == (0,):
            return []
        cursor.execute(
            f"SELECT task_id FROM {table} WHERE {SEARCHED} ILIKE %s LIMIT %s",  # noqa: S608 (constants)
            [f"%{connection.ops.prep_for_like_query(term)}%", MAX_FOUND],
        )
        return [task_id for (task_id,) in cursor.fetchall()]


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
