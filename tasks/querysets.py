"""Reads of the ledger and of the tasks, for the admin and for hosts: fast at any size.

Nothing here sorts, counts or compares the whole of a table: each method is served by an index, or
stops after so many rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet
from django.db import connections, models
from django.db.models import BooleanField, ExpressionWrapper, F, Func, IntegerField, Max, Min, Q, QuerySet
from django.db.models.functions import Left, Right
from django.utils import timezone

from .conf import COLUMN_LENGTH, app_settings
from .lifecycle import TERMINAL, Meaning

if TYPE_CHECKING:
    from .models import Reaction, Silence, Task, TaskStatusEvent  # noqa: F401 (the types of the rows)

__all__ = ("ReactionQuerySet", "SilenceQuerySet", "TaskQuerySet", "TaskStatusEventQuerySet")

#: The characters of an error message that hold its first line, and those that hold a traceback's last.
ERROR_START = 200
ERROR_END = 2000
#: What a task may mean that is marked as lost.
MAY_BE_LOST = (Meaning.QUEUED.value, Meaning.RUNNING.value)
#: More tasks than these about one entity are not searched for its events.
MAX_TASKS_OF_ENTITY = 1000


class TaskQuerySet(QuerySet["Task"]):
    """Reads of tasks."""

    def meaning(self, meaning: Meaning) -> TaskQuerySet:
        """Return the tasks whose status means ``meaning``."""
        return self.filter(meaning=meaning.value)

    def running(self) -> TaskQuerySet:
        """Return the tasks whose status means that they run."""
        return self.meaning(Meaning.RUNNING)

    def succeeded(self) -> TaskQuerySet:
        """Return the tasks whose status means that they succeeded."""
        return self.meaning(Meaning.SUCCEEDED)

    def failed(self) -> TaskQuerySet:
        """Return the tasks whose status means that they failed."""
        return self.meaning(Meaning.FAILED)

    def ended(self) -> TaskQuerySet:
        """Return the tasks that have succeeded, failed or were cancelled."""
        return self.filter(meaning__in=sorted(TERMINAL))

    def silent(self, *, after: timedelta | None = None, now: datetime | None = None) -> TaskQuerySet:
        """Return the tasks that sent no event for longer than ``SILENT_AFTER`` or ``QUEUED_AFTER`` allows.

        With ``after``, return the running tasks that sent none for longer than that.
        """
        now = now or timezone.now()
        if after is not None:
            return self.running().filter(last_received_at__lt=now - after)
        queued_after = app_settings().queued_after
        conditions = _silent_running(app_settings().silence_limits, now)
        if queued_after is not None:
            conditions.append(Q(meaning=Meaning.QUEUED.value, last_received_at__lt=now - queued_after))
        return self.filter(reduce(or_, conditions)) if conditions else self.none()

    def lost(self) -> TaskQuerySet:
        """Return the tasks that are marked as lost, and of which no event has come since."""
        marked = self.filter(lost_at__isnull=False, lost_events=F("event_count"))
        return marked.exclude(meaning__in=sorted(TERMINAL))

    def of_entity(self, entity_id: str) -> TaskQuerySet:
        """Return the tasks about the entity ``entity_id``."""
        return self.filter(entity_id=entity_id)

    def changed_since(self, time: datetime) -> TaskQuerySet:
        """Return the tasks whose last event was received at ``time`` or later.

        An event is received before it is committed. If you poll, let the times overlap by as long as a
        delivery can take.
        """
        return self.filter(last_received_at__gte=time)

    def heard_within(self, start: datetime, end: datetime) -> TaskQuerySet:
        """Return the tasks whose last event was received at ``start`` or later, and before ``end``."""
        return self.filter(last_received_at__gte=start, last_received_at__lt=end)

    def newest(self, most: int) -> TaskQuerySet:
        """Return the ``most`` tasks that were heard of last."""
        return self.order_by("-last_received_at", "task_id")[:most]

    def with_value(self, column: str, value: str) -> TaskQuerySet:
        """Return the tasks whose ``column`` is ``value``."""
        return self.filter(**{column: value})

    def search(self, term: str) -> TaskQuerySet:
        """Return the tasks whose id begins with ``term``, and those about the entity ``term``."""
        return self.filter(begins_with("task_id", term) | Q(entity_id=term))

    def among_newest(self, most: int) -> TaskQuerySet:
        """Return those that are among the ``most`` tasks heard of last: a range that an index serves."""
        times = self.model._default_manager.using(self.db).order_by("-last_received_at")
        last = list(times.values_list("last_received_at", flat=True)[most - 1 : most])
        return self.filter(last_received_at__gte=last[0]) if last else self.all()

    def for_list(self) -> TaskQuerySet:
        """Leave out what a list does not show; of the error message, read its beginning and its end."""
        orders = [field.name for field in self.model._meta.fields if field.name.endswith("_order")]
        return self.defer("error_message", *orders).with_ends_of_error()

    def with_ends_of_error(self) -> TaskQuerySet:
        """Add the beginning and the end of the error message, which suffice for its headline."""
        return self.annotate(
            error_start=Left("error_message", ERROR_START), error_end=Right("error_message", ERROR_END)
        )

    def counts(
        self,
        *,
        cap: int,
        silent_after: timedelta | None = None,
        now: datetime,
        meanings: Iterable[Meaning] = Meaning,
    ) -> dict[str, int]:
        """Return how many tasks there are of each meaning, and under ``silent`` and ``lost``, in one query.

        No count goes beyond ``cap`` + 1, which stands for "more than ``cap``".
        """
        counted = {meaning.value: self.meaning(meaning) for meaning in meanings}
        counted["silent"] = self.silent(after=silent_after, now=now)
        counted["lost"] = self.lost()
        selects: list[str] = []
        parameters: list[Any] = []
        for rows in counted.values():
            try:
                sql, values = rows.order_by().values("pk")[: cap + 1].query.sql_with_params()
            except EmptyResultSet:  # the filters contradict each other
                selects.append("0")
                continue
            selects.append(f"(SELECT COUNT(*) FROM ({sql}) AS counted)")  # noqa: S608 (the ORM's own SQL)
            parameters += values
        with connections[self.db].cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(selects)}", parameters)
            return dict(zip(counted, cursor.fetchone(), strict=True))


def _silent_running(limits: Mapping[str, timedelta | None], now: datetime) -> list[Q]:
    """Return the condition of silence for running tasks, none if nothing is expected of any.

    The index is on meaning and time: it is read from the shortest limit of all types on.
    """
    known = {task_type: limit for task_type, limit in limits.items() if limit is not None}
    if not known:
        return []
    silent = Q(meaning=Meaning.RUNNING.value, last_received_at__lt=now - min(known.values()))
    named = [task_type for task_type in limits if task_type != "*"]
    if not named:
        return [silent]
    of_types = [
        Q(task_type=task_type, last_received_at__lt=now - limit)
        for task_type, limit in known.items()
        if task_type != "*"
    ]
    if "*" in known:
        of_types.append(~Q(task_type__in=named) & Q(last_received_at__lt=now - known["*"]))
    return [silent & reduce(or_, of_types)]


class _StoredSize(Func):
    """How many bytes a value takes in its row, without reading them where the database knows."""

    function = "LENGTH"
    output_field = IntegerField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="pg_column_size", **context)


class TaskStatusEventQuerySet(QuerySet["TaskStatusEvent"]):
    """Reads of the ledger."""

    def with_value(self, column: str, value: str) -> TaskStatusEventQuerySet:
        """Return the events whose ``column`` is ``value``, fast if ordered by the column and then by id.

        PostgreSQL ignores a column that equals a constant when it sorts, and walks the ids from
        the last one back until it has met enough such events: through all of the ledger if
        only old ones have the value. Of a range it takes the index on the column and the id.
        """
        return self.filter(**{f"{column}__gte": value, f"{column}__lte": value})

    def search(self, term: str) -> TaskStatusEventQuerySet:
        """Return the events of tasks whose id begins with ``term``, or that are about the entity ``term``."""
        tasks: Any = self.model._meta.get_field("task").related_model
        about = list(
            tasks.objects.using(self.db)
            .filter(entity_id=term)
            .values_list("pk", flat=True)[:MAX_TASKS_OF_ENTITY]
        )
        found = begins_with("task_id", term)
        return self.filter(found | Q(task_id__in=about) if about else found)

    def last_of_each_source(self) -> dict[str, datetime]:
        """Return when the last event of each client was received, by a look into the index for each."""
        found = {}
        for source in known_values(self.model, "source", using=self.db):
            events = self.with_value("source", source).order_by("-source", "-pk")
            found[source] = events.values_list("received_at", flat=True)[0]
        return found

    def for_list(self) -> TaskStatusEventQuerySet:
        """Leave out the JSON and the long texts, which a list does not show."""
        return self.defer("metadata", "additional_properties", "unknown_fields", "error_message")

    def for_timeline(self) -> TaskStatusEventQuerySet:
        """Return events for a task's timeline: the last received first, of an error its two ends."""
        events = self.order_by("-pk").defer(
            "metadata", "additional_properties", "unknown_fields", "started_at", "completed_at", "source",
            "error_message",
        )  # fmt: skip
        return events.annotate(
            error_start=Left("error_message", ERROR_START), error_end=Right("error_message", ERROR_END)
        )

    def for_plot(self) -> TaskStatusEventQuerySet:
        """Return what places events in time, the last received first, and which of them have metadata."""
        events = self.order_by("-pk").only(
            "task_id", "timestamp", "received_at", "status", "progress", "idempotency_key", "payload_digest"
        )
        has_metadata: Any = ExpressionWrapper(Q(metadata__isnull=False), output_field=BooleanField())
        return events.annotate(has_metadata=has_metadata)

    def small_metadata(self, most: int) -> dict[int, Any]:
        """Return the metadata by the event's id, where the database stores it in at most ``most`` bytes."""
        events = self.annotate(size=_StoredSize("metadata")).filter(size__lte=most)
        return dict(events.values_list("pk", "metadata"))

    def sampled(self, task_id: str, most: int) -> TaskStatusEventQuerySet:
        """Return at most ``most`` events of a task, spread evenly from its first to its last one received.

        Each is found by a look into the index on the task and the id, however many events there are.
        """
        of_task = self.filter(task_id=task_id)
        first, last = of_task.aggregate(first=Min("pk"), last=Max("pk")).values()
        table = connections[self.db].ops.quote_name(self.model._meta.db_table)
        sql = f"""
            WITH RECURSIVE places(number) AS (
                SELECT CAST(1 AS bigint) UNION ALL SELECT number + 1 FROM places WHERE number < %s
            )
            SELECT (
                SELECT MIN(id) FROM {table} WHERE task_id = %s AND id >= %s + number * %s / %s
            ) FROM places
        """  # noqa: S608 (the only variable part is the name of a table)
        if first is None:
            return of_task.none()
        with connections[self.db].cursor() as cursor:
            cursor.execute(sql, [most - 1, task_id, first, last - first, most - 1])
            found = {event_id for (event_id,) in cursor.fetchall()}
        return of_task.filter(pk__in=found | {first}).for_plot()


class ReactionQuerySet(QuerySet["Reaction"]):
    """Reads of reactions."""

    def pending(self) -> ReactionQuerySet:
        """Return the reactions that are still to be made."""
        return self.filter(state="pending")

    def dead(self) -> ReactionQuerySet:
        """Return the reactions that no worker tries again: a person decides."""
        return self.filter(state="dead")

    def with_value(self, column: str, value: str) -> ReactionQuerySet:
        """Return the reactions whose ``column`` is ``value``, as ``TaskStatusEventQuerySet`` does."""
        return self.filter(**{f"{column}__gte": value, f"{column}__lte": value})

    def search(self, term: str) -> ReactionQuerySet:
        """Return the reactions to tasks whose id begins with ``term``."""
        return self.filter(begins_with("task_id", term))

    def among_newest(self, most: int) -> ReactionQuerySet:
        """Return those that are among the ``most`` reactions stored last."""
        newest = self.model._default_manager.using(self.db).order_by("-pk")
        last = list(newest.values_list("pk", flat=True)[most - 1 : most])
        return self.filter(pk__gte=last[0]) if last else self.all()

    def for_list(self) -> ReactionQuerySet:
        """Of the error, read its beginning and its end."""
        return self.defer("error").annotate(
            error_start=Left("error", ERROR_START), error_end=Right("error", ERROR_END)
        )

    def last_of_each_handler(self, task_id: str, *, of_each: int, of_all: int) -> Any:
        """Return the last reactions to a task, up to ``of_each`` of a handler and ``of_all`` in total.

        It jumps in the index from handler to handler, however many reactions each of them has.
        """
        table = connections[self.db].ops.quote_name(self.model._meta.db_table)
        sql = f"""
            WITH RECURSIVE names(name) AS (
                SELECT MIN(handler) FROM {table} WHERE task_id = %s UNION ALL
                SELECT (SELECT MIN(handler) FROM {table} WHERE task_id = %s AND handler > names.name)
                FROM names WHERE names.name IS NOT NULL
            ), starts(name, seq) AS (
                SELECT name, COALESCE((
                    SELECT seq FROM {table} WHERE task_id = %s AND handler = names.name
                    ORDER BY seq DESC LIMIT 1 OFFSET %s
                ), 0) FROM names WHERE name IS NOT NULL
            )
            SELECT r.* FROM starts JOIN {table} r
            ON r.task_id = %s AND r.handler = starts.name AND r.seq >= starts.seq
            ORDER BY r.seq DESC, r.handler LIMIT %s
        """  # noqa: S608 (the only variable part is the name of a table)
        return self.raw(sql, [task_id, task_id, task_id, of_each - 1, task_id, of_all])

    def ended_before(self, before: datetime) -> ReactionQuerySet:
        """Return the reactions that were done, or given up by a person, before ``before``."""
        return self.filter(state__in=("done", "skipped"), ended_at__lt=before)


class SilenceQuerySet(QuerySet["Silence"]):
    """Reads of what the watchdog remembers."""

    def due(self, now: datetime) -> SilenceQuerySet:
        """Return the silences that are to be looked at."""
        return self.filter(due_at__lte=now)

    def judged(self) -> SilenceQuerySet:
        """Return the silences whose tasks are to be marked as lost."""
        return self.filter(judged_at__isnull=False)


def may_be_stored(text: str) -> bool:
    """Return whether a column may hold ``text``: to ask PostgreSQL for U+0000 is an error, and Citus for more
    than a ``task_id`` is long.
    """
    return "\0" not in text and len(text) <= COLUMN_LENGTH


def begins_with(field: str, prefix: str) -> Q:
    """Return the condition that ``field`` begins with ``prefix``, as a range that an index serves.

    Both databases compare the ids of tasks by code points (collation "C", BINARY), while a LIKE
    would miss the index on SQLite, and on PostgreSQL with the term as a bound parameter.
    """
    condition = Q(**{f"{field}__gte": prefix})
    end = _after_all_with(prefix)
    return condition & Q(**{f"{field}__lt": end}) if end else condition


def _after_all_with(prefix: str) -> str:
    """Return the least text greater than all that begin with ``prefix``, or "" if there is none."""
    prefix = prefix.rstrip("\U0010ffff")
    if not prefix:
        return ""
    following = ord(prefix[-1]) + 1
    # Surrogates are not characters.
    return prefix[:-1] + chr(0xE000 if following == 0xD800 else following)


def known_values(model: type[models.Model], column: str, *, using: str, most: int = 100) -> list[str]:
    """Return the distinct values of an indexed text column, sorted, at most ``most``.

    It jumps from each value to the next one in the index (a loose index scan), while a SELECT
    DISTINCT reads the whole table. IS NOT NULL is what lets a partial index serve.
    """
    if app_settings().distributed:
        return _values_one_by_one(model, column, using=using, most=most)
    quote = connections[using].ops.quote_name
    table, name = quote(model._meta.db_table), quote(column)
    sql = f"""
        WITH RECURSIVE known(value, place) AS (
            SELECT MIN({name}), 1 FROM {table} WHERE {name} IS NOT NULL
            UNION ALL
            SELECT (SELECT MIN({name}) FROM {table} WHERE {name} > known.value), place + 1
            FROM known WHERE known.value IS NOT NULL AND place < %s
        )
        SELECT value FROM known WHERE value IS NOT NULL
    """  # noqa: S608 (the only variable parts are the names of a table and a column)
    with connections[using].cursor() as cursor:
        cursor.execute(sql, [most])
        return [value for (value,) in cursor.fetchall()]


def _values_one_by_one(model: type[models.Model], column: str, *, using: str, most: int) -> list[str]:
    """Do as ``known_values()`` with a query for each: Citus runs a recursive one for a single task only."""
    rows: QuerySet[Any] = model._default_manager.using(using).filter(**{f"{column}__isnull": False})
    values: list[str] = []
    while len(values) < most:
        greater = rows.filter(**{f"{column}__gt": values[-1]}) if values else rows
        value = greater.aggregate(value=Min(column))["value"]
        if value is None:
            break
        values.append(value)
    return values


def in_batches(rows: QuerySet[Any], *, size: int = 2000) -> Iterator[Any]:
    """Yield all rows, the greatest primary key first, in constant memory and without a long transaction.

    Each batch is a query of its own that goes on where the last one ended, so that neither a
    pooler in transaction mode nor SQLite's writers are minded by a slow reader.
    """
    rows = rows.order_by("-pk")
    batch = list(rows[:size])
    while batch:
        yield from batch
        batch = list(rows.filter(pk__lt=batch[-1].pk)[:size]) if len(batch) == size else []
