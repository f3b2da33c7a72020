"""The filters of the lists. None of them reads a whole table to find its choices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model, Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from ..lifecycle import Meaning
from ..models import Reaction
from ..ops.headline import ANY_NUMBER, alike, headline
from ..ops.hours import MOST_READ
from ..querysets.scans import known_values, known_values_of
from ..querysets.text import may_be_stored
from .display import duration, filter_details, shown
from .paginator import MAX_COUNT

#: If the first column of an index has this many values, a search under each of them would be slow.
MAX_FIRST = 500


class Filter(admin.SimpleListFilter):
    """A filter in the bar above the list, which names its choice there."""

    template = "admin/sartiq_tasks/filter.html"
    #: What the opened filter says first.
    note: Any = ""

    def leads(self) -> bool:
        """Return whether the list is ordered by the filter's column first, for the index that serves it."""
        return False

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Return the parameters of an address that the filter reads."""
        return (str(cls.parameter_name),)

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the choices; the first one also says how the bar names the chosen one."""
        first, *rest = super().choices(changelist)
        chosen = next((one["display"] for one in rest if one["selected"]), None)
        details = filter_details(self.title, chosen, self.note, [first, *rest])
        yield {**first, "chosen": chosen, "details": details}
        yield from rest


class MeaningFilter(Filter):
    """By what the status means."""

    title = _("status")
    parameter_name = "meaning"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the meanings there are."""
        return [(meaning.value, meaning.label) for meaning in Meaning]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks of the meaning; an unknown word finds none."""
        value = self.value()
        return queryset if value is None else queryset.filter(meaning=value.replace("\0", ""))


class SilentFilter(Filter):
    """By silence: tasks that are silent, marked as lost or held back, or that have probably ended."""

    title = _("silence")
    parameter_name = "silent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the choices; the first names the limit if it is the same for every task type."""
        limits = set(app_settings().silence_limits.values())
        length = duration(limits.pop()) if len(limits) == 1 else None
        silent = _("Running, nothing heard for %(length)s") % {"length": length} if length else _("Silent")
        return [
            ("1", silent), ("lost", _("Marked as lost")), ("held", _("Held back")),
            ("ended", _("Silent, and probably ended")),
        ]  # fmt: skip

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks of the choice."""
        match self.value():
            case None:
                return queryset
            case "lost":
                return queryset.lost()
            case "held":
                return queryset.held_back()
            case "ended":
                return queryset.said_to_have_ended()
            case _:
                return queryset.silent(now=timezone.now())


class ValueFilter(Filter):
    """By a column's value."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the rows with the value."""
        value = self.value()
        if value is None:
            return queryset
        return self.found(queryset, value) if may_be_stored(value) else queryset.none()

    def found(self, queryset: Any, value: str) -> Any:
        """Return the rows with ``value``, which an index finds."""
        return queryset.filter(**{str(self.parameter_name): value})


class KnownValuesFilter(ValueFilter):
    """By the values that exist, found by a jump from each to the next in the index."""

    def __init__(self, request: HttpRequest, params: Any, model: type[Model], model_admin: Any) -> None:
        self.model, self.using = model, model_admin.get_queryset(request).db
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the values, with the one that is asked for, known or not."""
        values = self._known(request, model_admin)
        asked_for = self.value()
        if asked_for is not None and asked_for not in values:
            values.append(asked_for)
        return [(value, shown(value)) for value in values]

    def _known(self, request: HttpRequest, model_admin: Any) -> list[str]:
        """Return the values. The first such filter of a list asks for those of all, in one query."""
        found = vars(request).setdefault("_sartiq_tasks_known", {}).setdefault(self.model, {})
        own = str(self.parameter_name)
        if own not in found:
            others = (one for one in model_admin.get_list_filter(request) if _is_of_known_values(one))
            columns = sorted({own, *(str(one.parameter_name) for one in others)})
            found |= known_values_of(self.model, columns, using=self.using)
        return list(found[own])

    def found(self, queryset: Any, value: str) -> Any:
        """Return the rows with ``value``."""
        return queryset.with_value(self.parameter_name, value)

    def leads(self) -> bool:
        """Return whether a value is chosen. It is the same in every row, and changes no order."""
        return self.value() is not None


def _is_of_known_values(list_filter: Any) -> bool:
    return isinstance(list_filter, type) and issubclass(list_filter, KnownValuesFilter)


class TaskTypeFilter(KnownValuesFilter):
    """By task type."""

    title = _("task type")
    parameter_name = "task_type"


class ZoneFilter(KnownValuesFilter):
    """By origin zone."""

    title = _("origin zone")
    parameter_name = "origin_zone"


class ErrorCategoryFilter(KnownValuesFilter):
    """By error category."""

    title = _("error category")
    parameter_name = "error_category"


class StatusFilter(KnownValuesFilter):
    """By the sender's own word."""

    title = _("status")
    parameter_name = "status"


class SourceFilter(KnownValuesFilter):
    """By the client that sent it."""

    title = _("sender")
    parameter_name = "source"


class EventTypeFilter(KnownValuesFilter):
    """By event type."""

    title = _("event type")
    parameter_name = "event_type"


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
        """Return the rows with ``value``; beyond so many values of the first column by reading the table."""
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
    note = _("Looked for among the 1,000 failed tasks of its category that were last heard from.")
    parameter_name = "failure"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the kind that is asked for."""
        return [
            (value, shown(value.replace("\n", ": ")))
            for value, _told in super().lookups(request, model_admin)
        ]

    def found(self, queryset: Any, value: str) -> Any:
        """Return the tasks of the kind. Their error holds the words of its headline: the database looks for
        the longest piece, and the headline of what it finds decides.
        """
        category, _separator, line = value.rpartition("\n")
        of_category = {"error_category": category} if _separator else {"error_category": None}
        rows = queryset.filter(**of_category)
        if piece := max(line.split(ANY_NUMBER), key=len):
            rows = rows.filter(error_message__contains=piece)
        read = rows.with_ends_of_error().newest(MOST_READ).values_list("pk", "error_start", "error_end")
        return queryset.filter(pk__in=[pk for pk, start, end in read if alike(headline(start, end)) == line])


class StateFilter(Filter):
    """By the state of a reaction."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states there are."""
        return list(Reaction.State.choices)

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the reactions in the state; an unknown word finds none."""
        value = self.value()
        return queryset if value is None else queryset.in_state(value)


class HandlerFilter(KnownValuesFilter):
    """By handler."""

    title = _("handler")
    parameter_name = "handler"


class KindFilter(RecentFilter):
    """By the kind of a reaction. Almost all may be of one kind, so an index would not pay."""

    title = _("kind, among the last 10,000")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the kinds there are."""
        return list(Reaction.Kind.choices)
