"""Reads of the ledger."""

from __future__ import annotations

from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import BooleanField, ExpressionWrapper, Func, IntegerField, Max, Min, Q, QuerySet

from ..conf import app_settings
from .scans import known_values, walk
from .text import begins_with, ends_of_error

if TYPE_CHECKING:
    from ..models import TaskStatusEvent  # noqa: F401 (the type of the rows)

#: More tasks than these about one entity are not searched for its events.
MAX_TASKS_OF_ENTITY = 1000
#: More clients than these are not looked for.
MOST_SOURCES = 100


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
        if not app_settings().distributed:
            return self._last_of_each_source()
        found = {}
        for source in known_values(self.model, "source", using=self.db, most=MOST_SOURCES):
            events = self.with_value("source", source).order_by("-source", "-pk")
            found[source] = events.values_list("received_at", flat=True)[0]
        return found

    def _last_of_each_source(self) -> dict[str, datetime]:
        """Do so in one query, which Citus does not run."""
        connection, field = connections[self.db], self.model._meta.get_field("received_at")
        table = connection.ops.quote_name(self.model._meta.db_table)
        sql = f"""
            WITH RECURSIVE {walk(self.model, self.db, "source", "known")}
            SELECT value, (
                SELECT received_at FROM {table} WHERE source >= value AND source <= value
                ORDER BY source DESC, id DESC LIMIT 1
            ) FROM known WHERE value IS NOT NULL
        """  # noqa: S608 (the only variable part is the name of a table)
        received_at = field.get_col(table)
        convert = connection.ops.get_db_converters(received_at)
        with connection.cursor() as cursor:
            cursor.execute(sql, [MOST_SOURCES])
            return {
                source: reduce(lambda at, one: one(at, received_at, connection), convert, at)
                for source, at in cursor.fetchall()
            }

    def for_list(self) -> TaskStatusEventQuerySet:
        """Leave out the JSON and the long texts, which a list does not show."""
        return self.defer("metadata", "additional_properties", "unknown_fields", "error_message")

    def for_timeline(self) -> TaskStatusEventQuerySet:
        """Return events for a task's timeline: the last received first, of an error its two ends."""
        events = self.order_by("-pk").defer(
            "metadata", "additional_properties", "unknown_fields", "started_at", "completed_at", "source",
            "error_message",
        )  # fmt: skip
        return events.annotate(**ends_of_error("error_message"))

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
