"""The filters that a link on a page sets. A bar shows such a filter only when it is set."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..models import Reaction
from ..ops.headline import ANY_NUMBER, alike, headline
from ..ops.hours import MOST_READ
from ..querysets.scans import known_values
from .display import shown
from .filters import ValueFilter
from .paginator import MAX_COUNT

#: If the first column of an index has this many values, a search under each of them would be slow.
MAX_FIRST = 500


class LinkedFilter(ValueFilter):
    """By a value that a link on a page sets. The bar shows the filter only then."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the value that is asked for."""
        value = self.value()
        return [] if value is None else [(value, shown(value))]


class TaskFilter(LinkedFilter):
    """The events of one task."""

    title = _("task")
    parameter_name = "task_id"


class EntityFilter(LinkedFilter):
    """The tasks about one entity."""

    title = _("entity")
    parameter_name = "entity_id"


class RecentFilter(LinkedFilter):
    """By a column without an index, among the rows at the head of the list alone, as the title says."""

    def found(self, queryset: Any, value: str) -> Any:
        """Return those of the last ``MAX_COUNT`` rows that have ``value``."""
        return queryset.among_newest(MAX_COUNT).filter(**{str(self.parameter_name): value})


class UnderFilter(LinkedFilter):
    """By the second column of an index, looked for under each value of the first one, of which there are few.

    An index of its own would be written with each event.
    """

    first: ClassVar[str]

    def found(self, queryset: Any, value: str) -> Any:
        """Return the rows with ``value``; with ``MAX_FIRST`` values of the first column, read the table."""
        wanted = {str(self.parameter_name): value}
        known = known_values(queryset.model, self.first, using=queryset.db, most=MAX_FIRST)
        if len(known) == MAX_FIRST:
            return queryset.filter(**wanted)
        under = Q(**{f"{self.first}__in": known}, **wanted)
        if queryset.model._meta.get_field(self.first).null:
            under |= Q(**{f"{self.first}__isnull": True}, **wanted)
        return queryset.filter(under)


class InstanceFilter(UnderFilter):
    """By the instance it runs on."""

    title = _("instance")
    parameter_name, first = "origin_instance", "origin_zone"


class VersionFilter(UnderFilter):
    """By the version of the software that runs it."""

    title = _("version")
    parameter_name, first = "origin_version", "task_type"


def failure_value(category: str | None, line: str) -> str:
    """Return a kind of failure as the filter's value: no headline has a line break, a category may."""
    return line if category is None else f"{category}\n{line}"


class FailureFilter(LinkedFilter):
    """The tasks whose error is of one kind, by category and headline: only the newest are read for it."""

    title = _("failure")
    note = _("Only the 1,000 failed tasks of this category that were last heard from are searched.")
    parameter_name = "failure"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the kind that is asked for."""
        return [
            (value, shown(value.replace("\n", ": ")))
            for value, _told in super().lookups(request, model_admin)
        ]

    def may_find(self, value: str) -> bool:
        """Return whether its two parts may be stored: together they may be longer than a column."""
        return all(map(super().may_find, value.rpartition("\n")))

    def found(self, queryset: Any, value: str) -> Any:
        """Return the tasks of the kind. Their error holds the words of its headline: the database looks for
        the longest piece, and the headline of what it finds decides.
        """
        category, separator, line = value.rpartition("\n")
        rows = queryset.filter(error_category=category if separator else None)
        if piece := max(line.split(ANY_NUMBER), key=len):
            rows = rows.filter(error_message__contains=piece)
        read = rows.with_ends_of_error().newest(MOST_READ).values_list("pk", "error_start", "error_end")
        return queryset.filter(pk__in=[pk for pk, start, end in read if alike(headline(start, end)) == line])


class KindFilter(RecentFilter):
    """By the kind of a reaction. Almost all may be of one kind, so an index would not pay."""

    title = _("kind, among the last 10,000")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the kinds there are."""
        return list(Reaction.Kind.choices)
