"""The lists' filters. None reads a whole table to find its choices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from ..lifecycle import Meaning
from ..models import Reaction
from ..ops.headline import ANY_NUMBER, alike, headline
from ..ops.hours import MOST_READ
from ..querysets import known_values
from .display import duration, shown
from .paginator import MAX_COUNT


class Filter(admin.SimpleListFilter):
    """A filter in the bar above the list, which names its choice there."""

    template = "admin/sartiq_tasks/filter.html"

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Return the parameters of an address that the filter reads."""
        return (str(cls.parameter_name),)

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the choices; the first one also says how the chosen one is told in the bar."""
        first, *rest = super().choices(changelist)
        yield {**first, "chosen": next((one["display"] for one in rest if one["selected"]), None)}
        yield from rest


class MeaningFilter(Filter):
    """By what the status means."""

    title = _("status")
    parameter_name = "meaning"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the meanings there are."""
        return [(meaning.value, meaning.label) for meaning in Meaning]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks of the meaning; of a word that is none, no task."""
        value = self.value()
        return queryset if value is None else queryset.filter(meaning=value.replace("\0", ""))


class SilentFilter(Filter):
    """Tasks of which nothing was heard for longer than ``SILENT_AFTER``, and those that are lost."""

    title = _("silence")
    parameter_name = "silent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return both choices; the first tells the limit if it is the same for every task type."""
        limits = set(app_settings().silence_limits.values())
        length = duration(limits.pop()) if len(limits) == 1 else None
        silent = _("Running, nothing heard for %(length)s") % {"length": length} if length else _("Silent")
        return [("1", silent), ("lost", _("Marked as lost"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the silent tasks, or the lost ones."""
        if self.value() is None:
            return queryset
        return queryset.lost() if self.value() == "lost" else queryset.silent(now=timezone.now())


class KnownValuesFilter(Filter):
    """By a column's value: the values that exist, by a jump from each to the next in the index."""

    def __init__(self, request: HttpRequest, params: Any, model: type[Model], model_admin: Any) -> None:
        self.model, self.using = model, model_admin.get_queryset(request).db
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the values, with the one that is asked for, known or not."""
        values = known_values(self.model, str(self.parameter_name), using=self.using)
        asked_for = self.value()
        if asked_for is not None and asked_for not in values:
            values.append(asked_for)
        return [(value, shown(value)) for value in values]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the rows with the value. No row holds U+0000, and PostgreSQL refuses to be asked."""
        value = self.value()
        if value is None:
            return queryset
        return queryset.none() if "\0" in value else self.found(queryset, value)

    def found(self, queryset: Any, value: str) -> Any:
        """Return the rows with ``value``."""
        return queryset.with_value(self.parameter_name, value)


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

    title = _("source")
    parameter_name = "source"


class EventTypeFilter(KnownValuesFilter):
    """By event type."""

    title = _("event type")
    parameter_name = "event_type"


class LinkedFilter(Filter):
    """By a value that a link on a page leads to; the bar shows it only then."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the value that is asked for."""
        value = self.value()
        return [] if value is None else [(value, shown(value))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the rows with the value; see ``KnownValuesFilter``."""
        value = self.value()
        if value is None:
            return queryset
        return queryset.none() if "\0" in value else self.found(queryset, value)

    def found(self, queryset: Any, value: str) -> Any:
        """Return the rows with ``value``, which an index finds."""
        return queryset.filter(**{str(self.parameter_name): value})


class TaskFilter(LinkedFilter):
    """The events of one task."""

    title = _("task")
    parameter_name = "task_id"


class EntityFilter(LinkedFilter):
    """The tasks about one entity."""

    title = _("entity")
    parameter_name = "entity_id"


class RecentFilter(LinkedFilter):
    """By a column without an index: only among the rows at the head of the list, which the title says."""

    def found(self, queryset: Any, value: str) -> Any:
        """Return those of the last ``MAX_COUNT`` rows that have ``value``."""
        return queryset.among_newest(MAX_COUNT).filter(**{str(self.parameter_name): value})


class InstanceFilter(RecentFilter):
    """By the instance it runs on."""

    title = _("instance, among the 10,000 heard of last")
    parameter_name = "origin_instance"


class VersionFilter(RecentFilter):
    """By the version of what runs."""

    title = _("version, among the 10,000 heard of last")
    parameter_name = "origin_version"


def failure_value(category: str | None, line: str) -> str:
    """Return a kind of failure as the filter's value: no headline has a line break, a category may."""
    return line if category is None else f"{category}\n{line}"


class FailureFilter(LinkedFilter):
    """The tasks whose error is of one kind, by category and headline: only the newest are read for it."""

    title = _("failure, among the 1,000 heard of last")
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


class TimeFilter(Filter):
    """By a time: so long ago at most, on one day, or between two times."""

    template = "admin/sartiq_tasks/time_filter.html"

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Return the parameter of a period or day, and those of a range."""
        return (*super().parameters(), f"{cls.parameter_name}_from", f"{cls.parameter_name}_to")

    def __init__(self, request: HttpRequest, params: Any, model: type[Model], model_admin: Any) -> None:
        _one, *range_names = self.parameters()
        given = [params.pop(name, [""])[-1] for name in range_names]
        #: The two ends as the form has them.
        self.range_given = dict(zip(range_names, given, strict=True))
        super().__init__(request, params, model, model_admin)

    def expected_parameters(self) -> list[str | None]:
        """Return all that a link to another choice must drop."""
        return list(self.parameters())

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the usual periods."""
        return [
            ("1h", _("Past hour")),
            ("24h", _("Past 24 hours")),
            ("7d", _("Past 7 days")),
            ("30d", _("Past 30 days")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the period, day or range; of what is none of these, no row."""
        value, ends = self.value(), list(self.range_given.values())
        if value is None and not any(ends):
            return queryset
        if value in _PERIODS:
            return queryset.filter(**{f"{self.parameter_name}__gte": timezone.now() - _PERIODS[value]})
        try:
            if value is not None:
                start: datetime | None = _utc(datetime.combine(date.fromisoformat(value), time()))
                end: datetime | None = _utc(datetime.combine(date.fromisoformat(value), time.max))
            else:
                start, end = (_utc(datetime.fromisoformat(one)) if one else None for one in ends)
                # A minute that is named without seconds is meant whole.
                if end and re.fullmatch(_MINUTE, ends[1]):
                    end = _utc(datetime.fromisoformat(ends[1]).replace(second=59, microsecond=999_999))
        except ValueError:
            return queryset.none()
        after = {f"{self.parameter_name}__gte": start} if start else {}
        until = {f"{self.parameter_name}__lte": end} if end else {}
        return queryset.filter(**after, **until)

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the choices, and first of all what the form of the range needs."""
        names, value = self.parameters(), self.value()

        def link(**chosen: str) -> str:
            return str(changelist.get_query_string({**dict.fromkeys(names), **chosen}))

        given = " … ".join(one.replace("T", " ") for one in self.range_given.values() if one)
        chosen = dict[Any, Any](self.lookup_choices).get(value, value) or given or None
        others = {name: values for name, values in changelist.filter_params.items() if name not in names}
        yield {
            "selected": chosen is None, "query_string": link(), "display": _("All"),
            "chosen": chosen, "range": self.range_given, "others": others,
        }  # fmt: skip
        for period, title in self.lookup_choices:
            yield {
                "selected": value == period, "query_string": link(**{names[0]: period}), "display": title
            }  # fmt: skip


def _utc(local: datetime) -> datetime:
    """Return a time of the current zone in UTC, at an end of the calendar the last one that there is."""
    aware = timezone.make_aware(local) if timezone.is_naive(local) else local
    try:
        return aware.astimezone(UTC)
    except OverflowError:
        end = datetime.min if local.year == 1 else datetime.max
        return end.replace(tzinfo=UTC)


_MINUTE = r".*T\d\d:\d\d([+-]\d\d:\d\d)?"
_PERIODS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}


class LastHeardFilter(TimeFilter):
    """By when the task was last heard of."""

    title = _("last heard of")
    parameter_name = "last_received_at"


class ReceivedFilter(TimeFilter):
    """By when it was received."""

    title = _("received")
    parameter_name = "received_at"


class StateFilter(Filter):
    """By how far a reaction got."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states there are."""
        return list(Reaction.State.choices)

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the reactions in the state; of a word that is none, no reaction."""
        value = self.value()
        return queryset if value is None else queryset.filter(state=value.replace("\0", ""))


class HandlerFilter(KnownValuesFilter):
    """By handler."""

    title = _("handler")
    parameter_name = "handler"


class KindFilter(RecentFilter):
    """By why there is a reaction. Almost all may be of one kind, and no index is worth its price."""

    title = _("why, among the last 10,000")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the kinds there are."""
        return list(Reaction.Kind.choices)


class CreatedFilter(TimeFilter):
    """By when it was stored."""

    title = _("created")
    parameter_name = "created_at"
