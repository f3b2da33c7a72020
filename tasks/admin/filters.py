"""The lists' filters. None reads a whole table to find its choices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from ..lifecycle import Meaning
from ..querysets import known_values
from .display import duration, shown


class MeaningFilter(admin.SimpleListFilter):
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


class SilentFilter(admin.SimpleListFilter):
    """Running tasks of which nothing was heard for longer than ``SILENT_AFTER``."""

    title = _("silence")
    parameter_name = "silent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the one choice."""
        length = duration(app_settings().silent_after)
        return [("1", _("Running, nothing heard for %(length)s") % {"length": length})]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the silent tasks."""
        if self.value() is None:
            return queryset
        return queryset.silent(after=app_settings().silent_after, now=timezone.now())


class KnownValuesFilter(admin.SimpleListFilter):
    """By a column's value: the values that exist, by a jump from each to the next in the index."""

    column: str

    def __init__(self, request: HttpRequest, params: Any, model: type[Model], model_admin: Any) -> None:
        self.model, self.using = model, model_admin.get_queryset(request).db
        self.parameter_name = self.column
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the values, with the one that is asked for, known or not."""
        values = known_values(self.model, self.column, using=self.using)
        asked_for = self.value()
        if asked_for is not None and asked_for not in values:
            values.append(asked_for)
        return [(value, shown(value)) for value in values]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the rows with the value. No row holds U+0000, and PostgreSQL refuses to be asked."""
        value = self.value()
        if value is None:
            return queryset
        return queryset.none() if "\0" in value else queryset.with_value(self.column, value)


class TaskTypeFilter(KnownValuesFilter):
    """By task type."""

    title = _("task type")
    column = "task_type"


class ZoneFilter(KnownValuesFilter):
    """By origin zone."""

    title = _("origin zone")
    column = "origin_zone"


class ErrorCategoryFilter(KnownValuesFilter):
    """By error category."""

    title = _("error category")
    column = "error_category"


class StatusFilter(KnownValuesFilter):
    """By the sender's own word."""

    title = _("status")
    column = "status"


class EventTypeFilter(KnownValuesFilter):
    """By event type."""

    title = _("event type")
    column = "event_type"


class TimeFilter(admin.SimpleListFilter):
    """By a time: so long ago at most, or on one day."""

    template = "admin/sartiq_tasks/time_filter.html"
    column: str

    def __init__(self, request: HttpRequest, params: Any, model: type[Model], model_admin: Any) -> None:
        self.parameter_name = self.column
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the usual periods."""
        return [
            ("1h", _("Past hour")),
            ("24h", _("Past 24 hours")),
            ("7d", _("Past 7 days")),
            ("30d", _("Past 30 days")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the period or day; of what is neither, no row."""
        value = self.value()
        if value is None:
            return queryset
        if value in _PERIODS:
            return queryset.filter(**{f"{self.column}__gte": timezone.now() - _PERIODS[value]})
        if (day := self.day()) is None:
            return queryset.none()
        start = timezone.make_aware(datetime.combine(day, time()))
        return queryset.filter(
            **{f"{self.column}__gte": start, f"{self.column}__lt": start + timedelta(days=1)}
        )

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the choices, and first of all what the form of the day needs."""
        others = {
            name: values for name, values in changelist.filter_params.items() if name != self.parameter_name
        }
        first, *rest = super().choices(changelist)
        yield {**first, "day": self.day(), "name": self.parameter_name, "others": others}
        yield from rest

    def day(self) -> date | None:
        """Return the day that is asked for, if it is one."""
        try:
            day = date.fromisoformat(self.value() or "")
        except ValueError:
            return None
        # The first and the last year have days that are none in another time zone.
        return day if 1 < day.year < 9999 else None


_PERIODS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}


class LastHeardFilter(TimeFilter):
    """By when the task was last heard of."""

    title = _("last heard of")
    column = "last_received_at"


class ReceivedFilter(TimeFilter):
    """By when the event was received."""

    title = _("received")
    column = "received_at"
