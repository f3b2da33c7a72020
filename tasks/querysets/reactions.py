"""Reads of reactions."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import QuerySet, Value

from .text import begins_with, ends_of_error

if TYPE_CHECKING:
    from ..models import Reaction  # noqa: F401 (the type of the rows)


class _Literal(Value):
    """A value that stands in the statement itself."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        return f"'{self.value}'", ()


class ReactionQuerySet(QuerySet["Reaction"]):
    """Reads of reactions."""

    def pending(self) -> ReactionQuerySet:
        """Return the reactions that are still to be made."""
        return self.in_state("pending")

    def dead(self) -> ReactionQuerySet:
        """Return the reactions that no worker tries again: a person decides."""
        return self.in_state("dead")

    def in_state(self, state: str) -> ReactionQuerySet:
        """Return the reactions in a state, through the index that has only those.

        A prepared statement has one plan for all values of a parameter, which uses no index of one state.
        """
        known = self.model._meta.get_field("state").choices or ()
        return self.filter(state=_Literal(state)) if state in dict(known) else self.none()

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
        return self.defer("error").annotate(**ends_of_error("error"))

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
