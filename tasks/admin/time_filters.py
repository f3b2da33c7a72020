"""The lists' filters by a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from html import escape
from typing import Any

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from .display import filter_details
from .filters import Filter

#: A task is not found by the time of its last event if that arrived later than this.
LATEST = timedelta(days=1)


class TimeFilter(Filter):
    """By a time: within a period until now, on one day, or between two times."""

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

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the usual periods."""
        return [
            ("1h", _("Past hour")),
            ("24h", _("Past 24 hours")),
            ("today", _("Today")),
            ("yesterday", _("Yesterday")),
            ("7d", _("Past 7 days")),
            ("30d", _("Past 30 days")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the period, day or range; an invalid value finds none."""
        value, ends = self.value(), list(self.range_given.values())
        if value is None and not any(ends):
            return queryset
        if value in _PERIODS:
            return self.within(queryset, timezone.now() - _PERIODS[value], None)
        if value in _DAYS_AGO:
            value = (timezone.localdate() - _DAYS_AGO[value]).isoformat()
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
        return self.within(queryset, start, end)

    def within(self, queryset: QuerySet[Any], start: datetime | None, end: datetime | None) -> QuerySet[Any]:
        """Return the rows between two times, of which one at least is given."""
        return _between(queryset, str(self.parameter_name), start, end)

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the choices; the first one carries all of them with the form of the range."""
        names, value = self.parameters(), self.value()

        def link(**chosen: str) -> str:
            return str(changelist.get_query_string({**dict.fromkeys(names), **chosen}))

        given = " … ".join(one.replace("T", " ") for one in self.range_given.values() if one)
        chosen = dict[Any, Any](self.lookup_choices).get(value, value) or given or None
        others = {name: values for name, values in changelist.filter_params.items() if name not in names}
        first = {"selected": chosen is None, "query_string": link(), "display": _("All")}
        rest = [
            {"selected": value == period, "query_string": link(**{names[0]: period}), "display": title}
            for period, title in self.lookup_choices
        ]
        form = _range_form(self.range_given, others)
        yield {**first, "details": filter_details(self.title, chosen, self.note, [first, *rest], form)}
        yield from rest


def _range_form(ends: Mapping[str, str], others: Mapping[str, Iterable[Any]]) -> SafeString:
    """Return the form of a range, which keeps the other parameters of the list's address."""
    kept = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(str(value))}">'
        for name, values in others.items()
        for value in values
    )
    fields = "\n".join(
        f'<label for="st-{name}">{escape(label)}</label>\n'
        f'<input type="datetime-local" step="1" id="st-{name}" name="{name}" value="{escape(value)}">'
        for (name, value), label in zip(ends.items(), (gettext("From"), gettext("Until")), strict=True)
    )
    # Apart, because makemessages looks into no f-string.
    show, zone = escape(gettext("Show")), timezone.get_current_timezone_name()
    times_in = escape(gettext("Times in %(zone)s") % {"zone": zone})
    return mark_safe(  # noqa: S308 (escaped)
        f'<form method="get" class="st-range">\n<p class="help">{times_in}</p>\n{kept}\n{fields}\n'
        f'<button type="submit" class="button">{show}</button>\n</form>'
    )


def _between(
    queryset: QuerySet[Any], column: str, start: datetime | None, end: datetime | None
) -> QuerySet[Any]:
    after = {f"{column}__gte": start} if start else {}
    until = {f"{column}__lte": end} if end else {}
    return queryset.filter(**after, **until)


def _utc(local: datetime) -> datetime:
    """Return a time of the current zone in UTC, at an end of the calendar the last one that there is."""
    aware = timezone.make_aware(local) if timezone.is_naive(local) else local
    try:
        return aware.astimezone(UTC)
    except OverflowError:
        end = datetime.min if local.year == 1 else datetime.max
        return end.replace(tzinfo=UTC)


def _moved(at: datetime, length: timedelta) -> datetime:
    """Return a later or an earlier time, at an end of the calendar the same."""
    try:
        return at + length
    except OverflowError:
        return at


_MINUTE = r".*T\d\d:\d\d([+-]\d\d:\d\d)?"
_DAYS_AGO = {"today": timedelta(), "yesterday": timedelta(days=1)}
_PERIODS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}


class LastHeardFilter(TimeFilter):
    """By when the task was last heard from."""

    title = _("last heard from")
    parameter_name = "last_received_at"


class LastEventFilter(TimeFilter):
    """By the time of the task's last event, which is the sender's own.

    An index on it would be written with each event. The one on the time of receipt serves: no event
    counts as later than its receipt and ``CLOCK_TOLERANCE``, and those that came more than ``LATEST``
    after their time are left out, as the filter says.
    """

    title = _("event time")
    note = _("Tasks whose last event arrived more than a day late are not found.")
    parameter_name = "last_event_at"

    def within(self, queryset: QuerySet[Any], start: datetime | None, end: datetime | None) -> QuerySet[Any]:
        """Return the tasks of a range of the index that holds them all, and of these the ones between."""
        first = start and _moved(start, -app_settings().clock_tolerance)
        heard = _between(queryset, "last_received_at", first, end and _moved(end, LATEST))
        return super().within(heard, start, end)


class ReceivedFilter(TimeFilter):
    """By when it was received."""

    title = _("received")
    parameter_name = "received_at"


class CreatedFilter(TimeFilter):
    """By when it was stored."""

    title = _("stored")
    parameter_name = "created_at"


class EventTimeFilter(TimeFilter):
    """By the sender's timestamp."""

    title = _("event time")
    parameter_name = "timestamp"

    def leads(self) -> bool:
        """Return whether a time is chosen: then the list is in the order of event times."""
        return self.value() is not None or any(self.range_given.values())
