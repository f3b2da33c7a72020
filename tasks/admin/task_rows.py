"""Search and sort the list of tasks without an index, among the tasks last heard from.

Each event writes every index on its task's row, so the list gets few of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import reduce
from html import escape
from operator import or_
from typing import Any

from django.contrib.admin.views.main import SEARCH_VAR
from django.db import connections
from django.db.models import Case, DurationField, ExpressionWrapper, F, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..conf import app_settings
from ..lifecycle import TERMINAL, Meaning
from ..models import Task
from ..querysets.scans import sql_of
from ..querysets.text import ERROR_END, ERROR_START, begins_with
from . import display
from .paginator import MAX_COUNT

#: An index that a host may add, over ``SEARCHED``: with it a search goes through all tasks.
INDEX = "sartiq_task_search"
SEARCHED = (
    """(task_id COLLATE "default" || ' ' || COALESCE(entity_id, '') || ' ' || COALESCE(origin_instance, '')"""
    f" || ' ' || COALESCE(RIGHT(error_message, {ERROR_END}), ''))"
)
#: What stands before a term to search for it in any part of a text, though an id begins with it.
ANY_PART = "*"
#: An index of trigrams finds no shorter term.
SHORTEST_TERM = 3
#: The most tasks that a search finds by a part of a text.
MAX_FOUND = 1000


def found(tasks: Any, term: str) -> tuple[Q, bool]:
    """Return the condition of what a search for ``term`` finds, and whether a wider one may find more.

    These are the tasks whose id begins with it, and those about that entity. If there are none, or if the
    term is after ``ANY_PART``, these are also the tasks, of those last heard from, that have it anywhere in
    the id, entity, instance or error, in any letter case.
    """
    by_index = [begins_with("task_id", term), Q(entity_id=term)]
    part = term.removeprefix(ANY_PART)
    if part in ("", term):
        hits, by_a_part = _by_a_part(tasks.db, term, unless=_hits(tasks.db, by_index))
        if not hits:
            return Q(pk__in=by_a_part), False
        # To show a page of a few, PostgreSQL looks for each of them instead of for the last of all tasks.
        return Q(pk__in=hits) if len(hits) <= MAX_FOUND else reduce(or_, by_index), True
    by_index += [begins_with("task_id", part), Q(entity_id=part)]
    _hits_of_none, by_a_part = _by_a_part(tasks.db, part)
    return reduce(or_, by_index) | Q(pk__in=by_a_part), False


def found_once(request: HttpRequest, tasks: Any, term: str) -> Q:
    """Return ``found()``, for the list and once more for its counts."""
    known = vars(request).setdefault("_sartiq_tasks_found", {})
    if term not in known:
        known[term] = found(tasks, term)
    condition: Q = known[term][0]
    return condition


def wider(request: HttpRequest, shown: Any) -> str | None:
    """Return the address of a wider search, if the list's may not have found all."""
    _condition, may_find_more = vars(request).get("_sartiq_tasks_found", {}).get(shown.query, (None, False))
    return shown.get_query_string({SEARCH_VAR: ANY_PART + shown.query}) if may_find_more else None


def _hits(using: str, conditions: Iterable[Q]) -> list[QuerySet[Any, Any]]:
    """Return the ids of tasks by each of the conditions, which an index serves, one more than wanted."""
    ids = Task._default_manager.using(using).order_by().values_list("pk", flat=True)
    return [ids.filter(one)[: MAX_FOUND + 1] for one in conditions]


def counts(tasks: Iterable[Task], now: datetime) -> dict[str, int]:
    """Count tasks in memory as ``TaskQuerySet.counts()`` does in the database."""
    counted = dict.fromkeys((*(meaning.value for meaning in Meaning), "silent", "lost"), 0)
    for task in tasks:
        counted[task.meaning] += 1
        counted["silent"] += task.is_silent(now)
        counted["lost"] += task.is_lost
    return counted


def elapsed(task: Task, now: datetime) -> SafeString | str:
    """Return how long a task took, with its end on hover, or how long it has taken."""
    length = task.duration(now)
    told = display.duration(length)
    if not task.is_ended or told == display.EMPTY:
        return told
    end = (task.started_at or task.first_event_at) + length
    title = escape(_("Ended %(time)s") % {"time": display.exact(end)})
    return SafeString(f'<span title="{title}">{told}</span>')  # escaped


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


def _with_hits(using: str, unless: Iterable[QuerySet[Any, Any]]) -> tuple[str, list[Any]]:
    """Return the beginning of a statement that has the ids in ``unless`` as ``hits``, and its parameters."""
    read = [sql_of(ids, using=using) for ids in unless]
    hits = " UNION ALL ".join(f"SELECT * FROM ({sql}) AS hit" for sql, _given in read)  # noqa: S608 (the ORM's own SQL)
    return f"WITH hits(task_id) AS ({hits}) " if read else "", [one for _sql, given in read for one in given]


def _by_a_part(
    using: str, term: str, *, unless: Sequence[QuerySet[Any, Any]] = ()
) -> tuple[set[str], set[str]]:
    """Return the ids in ``unless``, and the ids of tasks that have the term anywhere.

    These are the tasks last heard from, and those in the index. If ``unless`` has ids, they are not searched.
    """
    connection = connections[using]
    found: dict[str, set[str]] = {"hit": set(), "task": set(), "index": set()}
    if app_settings().distributed:  # Citus mixes no catalogue with its tables, so each is read by itself
        found["hit"].update(*unless)
        if found["hit"]:
            return found["hit"], set()
        queries = _queries(connection, term)
    else:
        queries = [_in_one(using, _queries(connection, term, is_gated=bool(unless)), unless)]
    with connection.cursor() as cursor:
        for query, given in queries:
            cursor.execute(query, given)
            for kind, task_id in cursor.fetchall():
                found[kind].add(task_id)
        if found["index"] and not found["hit"] and len(term) >= SHORTEST_TERM:
            cursor.execute(
                f"SELECT task_id FROM {_table(connection)} WHERE {SEARCHED} ILIKE %s LIMIT %s",  # noqa: S608 (constants)
                [_anywhere(connection, term), MAX_FOUND],
            )
            found["task"].update(task_id for (task_id,) in cursor.fetchall())
    return found["hit"], found["task"]


def _queries(connection: Any, term: str, *, is_gated: bool = False) -> list[tuple[str, list[Any]]]:
    """Return what to read, as rows of a kind and an id; gated, only if there are no ``hits``."""
    is_postgresql = connection.vendor == "postgresql"
    sql = f"""
        SELECT 'task', task_id FROM (
            SELECT task_id FROM (
                SELECT task_id, entity_id, origin_instance, error_message, last_received_at
                FROM {_table(connection)} ORDER BY last_received_at DESC LIMIT {MAX_COUNT}
            ) AS newest WHERE {_has(term, is_postgresql=is_postgresql)}
            {"AND NOT EXISTS (SELECT 1 FROM hits)" if is_gated else ""}
            ORDER BY last_received_at DESC LIMIT {MAX_FOUND}
        ) AS found
    """  # noqa: S608 (constants: without the numbers PostgreSQL would plan to sort the whole table)
    queries: list[tuple[str, list[Any]]] = [(sql, [_anywhere(connection, term)])]
    if is_postgresql:
        queries.append(
            ("SELECT 'index', NULL FROM pg_index WHERE indexrelid = to_regclass(%s) AND indisvalid", [INDEX])
        )
    if is_gated:
        queries.append(("SELECT 'hit', task_id FROM hits", []))
    return queries


def _in_one(
    using: str, queries: Iterable[tuple[str, list[Any]]], unless: Iterable[QuerySet[Any, Any]]
) -> tuple[str, list[Any]]:
    """Return the queries as one, which has the ids in ``unless`` as ``hits``."""
    parts, parameters = zip(*queries, strict=True)
    hits, of_hits = _with_hits(using, unless)
    return hits + " UNION ALL ".join(parts), [*of_hits, *(one for some in parameters for one in some)]


def _table(connection: Any) -> str:
    return str(connection.ops.quote_name(Task._meta.db_table))


def _anywhere(connection: Any, term: str) -> str:
    return f"%{connection.ops.prep_for_like_query(term)}%"


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
