"""Render the overview's numbers, each with the address of the list behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import formats, timezone
from django.utils.safestring import mark_safe
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from ..conf import app_settings
from ..lifecycle import Meaning
from . import display
from .filters import failure_value
from .overview_figures import Figures, Kind, Sender, Span, TaskType
from .paginator import MAX_COUNT

#: The least height of a bar that stands for anything, of a hundred.
LEAST_HEIGHT = 6
#: The places of a failure that are named, at most.
MOST_PLACES = 3


@dataclass(frozen=True, slots=True)
class Lists:
    """The addresses of lists in an admin site, for what the user may see."""

    site: str
    may_see: Mapping[str, bool]
    #: The addresses of whole lists, kept once resolved: a page has a hundred links.
    known: dict[str, str] = field(default_factory=dict)

    def tasks(self, **filters: str) -> str:
        """Return the address of the tasks as filtered."""
        return self._list("task", filters)

    def rejected(self, **filters: str) -> str | None:
        """Return the address of the rejected deliveries as filtered."""
        return self._list("rejecteddelivery", filters) if self.may_see["rejecteddelivery"] else None

    def events(self, **filters: str) -> str | None:
        """Return the address of the events as filtered."""
        return self._list("taskstatusevent", filters) if self.may_see["taskstatusevent"] else None

    def handlers(self) -> str:
        """Return the address of the handlers."""
        return self._list("handler", {})

    def reactions(self, **filters: str) -> str | None:
        """Return the address of the reactions as filtered."""
        return self._list("reaction", filters) if self.may_see["reaction"] else None

    def ended(self, meaning: Meaning, span: Span, **filters: str) -> str:
        """Return the address of the tasks that ended with ``meaning`` in the span."""
        return f"{self.tasks(meaning=meaning.value, **filters)}&{_range('last_received_at', span)}"

    def rejected_in(self, span: Span, **filters: str) -> str | None:
        """Return the address of the deliveries that were rejected in the span."""
        url = self.rejected(**filters)
        return url and f"{url}{'&' if filters else '?'}{_range('received_at', span)}"

    def kind(self, kind: Kind, told: Figures) -> str:
        """Return the address of the failed tasks of a kind."""
        return self.ended(Meaning.FAILED, told.day, failure=failure_value(kind.category, kind.line))

    def failure(self, kind: Kind, told: Figures) -> dict[str, Any]:
        """Return the row of a kind of failure."""
        return {
            "url": self.kind(kind, told),
            "tasks": kind.tasks,
            "category": kind.category and display.shown(kind.category),
            "line": kind.line or _("(no error message)"),
            "since": display.ago(kind.since),
            "is_new": kind in told.new_failures,
            "last": display.ago(kind.last),
            "places": " · ".join(filter(None, map(_places, (kind.zones, kind.instances)))),
        }

    def task_type(self, one: TaskType, told: Figures) -> dict[str, Any]:
        """Return the row of a type of task."""
        return {
            "name": display.shown(one.name),
            "url": self.tasks(task_type=one.name),
            "failed_url": self.ended(Meaning.FAILED, told.day, task_type=one.name),
            "ended": one.ended,
            "failed": one.failed,
            "waited": [about(length) for length in one.waited or ()],
            "ran": [about(length) for length in one.ran or ()],
        }

    def sender(self, one: Sender, told: Figures) -> dict[str, Any]:
        """Return the row of a sender."""
        return {
            "name": display.shown(one.name),
            "url": self.events(source=one.name),
            "last": display.ago(one.last),
            "rejected": one.rejected,
            "others": one.others,
            "rejected_url": self.rejected_in(told.day, source=one.name),
            "is_silent": one in told.silent_senders,
        }

    def _list(self, model: str, filters: Mapping[str, str]) -> str:
        if model not in self.known:
            self.known[model] = reverse(f"admin:sartiq_tasks_{model}_changelist", current_app=self.site)
        url = self.known[model]
        return f"{url}?{urlencode(filters)}" if filters else url


def _range(parameter: str, span: Span) -> str:
    """Return the filter for the span as a query: in the form's minutes, the last one whole."""
    return _range_query(parameter, span.start, span.end, timezone.get_current_timezone())


# A page shows the same hour up to five times, and the next page almost the same hours.
@lru_cache(maxsize=4096)
def _range_query(parameter: str, start: datetime, end: datetime, zone: tzinfo) -> str:
    last = end - timedelta(minutes=1)
    return urlencode({f"{parameter}_from": _minute(start, zone), f"{parameter}_to": _minute(last, zone)})


def _minute(at: datetime, zone: tzinfo) -> str:
    local = at.astimezone(zone)
    told = local.replace(tzinfo=None)
    # When clocks are set back an hour comes twice: only its offset says which one it is.
    is_clear = timezone.make_aware(told, zone) == local
    return told.isoformat(timespec="minutes") if is_clear else local.isoformat(timespec="minutes")


@lru_cache(maxsize=4096)
def _when(at: datetime, zone: tzinfo, form: str, language: str | None) -> str:
    """Return a time in words. Each word of it takes a look-up, so it is cached."""
    return formats.date_format(at.astimezone(zone), form)


@lru_cache(maxsize=4096)
def _count(count: int, language: str | None) -> str:
    """Return a count as the language writes it."""
    return formats.number_format(count, 0)


def tiles(told: Figures, lists: Lists) -> list[dict[str, Any]]:
    """Return the numbers at the top."""
    standing, day = told.standing, told.day
    queued_since = standing["oldest"]
    rates = {"rate": percentage(day.rate), "usual": percentage(told.week_before.rate)}
    silent_of = _("of the running") if app_settings().queued_after is None else _("of the running and queued")
    found: list[dict[str, Any]] = [
        _tile("running", _("Running"), standing["running"], lists.tasks(meaning="running")),
        _tile(
            "queued", Meaning.QUEUED.label, standing["queued"], lists.tasks(meaning="queued"),
            _("up to %(length)s") % {"length": about(told.now - queued_since)} if queued_since else "",
        ),
        _tile(
            "silent", display.SILENT_NAME, standing["silent"], lists.tasks(silent="1"),
            _("%(of)s, and %(count)s lost") % {"of": silent_of, "count": standing["lost"]}
            if standing["lost"]
            else silent_of,
        ),
        _tile(
            "succeeded", _("Succeeded"), day.succeeded, lists.ended(Meaning.SUCCEEDED, day), _("in 24 h"),
        ),
        _tile(
            "failed", _("Failed"), day.failed, lists.ended(Meaning.FAILED, day),
            _("%(rate)s, was %(usual)s") % rates
            if told.week_before.rate is not None
            else _("%(rate)s in 24 h") % rates,
            is_calm=not told.failures_need_you,
        ),
    ]  # fmt: skip
    if standing["other"]:
        note = _("no known status")
        found.insert(
            3, _tile("other", Meaning.OTHER.label, standing["other"], lists.tasks(meaning="other"), note)
        )
    if day.cancelled:
        cancelled = lists.ended(Meaning.CANCELLED, day)
        found.append(
            _tile("cancelled", Meaning.CANCELLED.label, day.cancelled, cancelled, _("in 24 h"), is_calm=True)
        )
    if url := lists.rejected_in(day):
        others = _("and %(count)s only counted") % {"count": day.others} if day.others else _("in 24 h")
        is_calm = not told.still_rejected
        found.append(_tile("rejected", _("Rejected"), day.rejected, url, others, is_calm=is_calm))
    return found


def _tile(
    name: str, label: Any, count: int, url: str, note: str = "", *, is_calm: bool = False
) -> dict[str, Any]:
    """Return a tile; a calm one has no colour of alarm, as what it counts needs nobody."""
    return {
        "name": name, "label": label, "number": number(count, MAX_COUNT if name in _CAPPED else None),
        "url": url, "note": note, "symbol": _SYMBOLS[name], "is_zero": not count,
        "is_calm": is_calm,
    }  # fmt: skip


_CAPPED = ("running", "queued", "silent", "other")
_SYMBOLS = {
    **{meaning.value: symbol for meaning, symbol in display.SYMBOLS.items()},
    "silent": display.SILENT_SYMBOL,
    "rejected": "⚠",
}


def charts(told: Figures, lists: Lists) -> list[dict[str, Any]]:
    """Return the bars of the day by the hour, and of two weeks by the day."""
    zone, language = timezone.get_current_timezone(), get_language()
    current = told.hours[-1]
    hours = [
        (span, _when(span.start, zone, "D j M, H:i", language), _hour_tick(span, current))
        for span in told.hours
    ]
    days = [
        (span, _when(day, zone, "D j M", language), str(timezone.localtime(day).day))
        for span in told.days
        # Not its start: that of a zone half an hour off lies in the day before.
        for day in [span.end - timedelta(hours=1)]
    ]
    return [
        {"name": "hours", "title": _("Received in the last 24 hours, by the hour"), **_chart(hours, lists)},
        {"name": "days", "title": _("Received in the last 14 days"), **_chart(days, lists)},
    ]


def _hour_tick(span: Span, current: Span) -> str:
    """Return the name of each third hour, and of the current one, which has no neighbour."""
    hour = f"{timezone.localtime(span.start):%H}"
    if span is current:
        return f"<b>{hour}</b>"
    return hour if int(hour) % 3 == 0 and span.end != current.start else ""


def _chart(spans: Sequence[tuple[Span, str, str]], lists: Lists) -> dict[str, Any]:
    rows = [
        _row("succeeded", _("Succeeded"), spans, lists),
        _row("failed", _("Failed"), spans, lists),
    ]
    if lists.may_see["rejecteddelivery"]:
        rows.append(_row("rejected", _("Rejected"), spans, lists))
    ticks = "".join(f"<span>{tick}</span>" for _span, _when, tick in spans)
    return {"rows": rows, "width": str(len(spans)), "ticks": mark_safe(ticks)}  # noqa: S308 (digits)


def _row(name: str, label: Any, spans: Sequence[tuple[Span, str, str]], lists: Lists) -> dict[str, Any]:
    counts = [
        span.rejected + span.others if name == "rejected" else getattr(span, name) for span, *_told in spans
    ]
    most, word, language = max(counts), str(label).lower(), get_language()
    base, column = (
        (f"{lists.rejected()}?", "received_at")
        if name == "rejected"
        else (f"{lists.tasks(meaning=name)}&", "last_received_at")
    )
    bars = []
    for x, ((span, when, _tick), count) in enumerate(zip(spans, counts, strict=True)):
        if count:
            height = max(LEAST_HEIGHT, round(count * 100 / most))
            told = f"{when}: {_count(count, language)} {word}"
            bars.append(_bar(x, height, escape(f"{base}{_range(column, span)}"), escape(told)))
    return {
        "name": name, "label": label, "total": formats.number_format(sum(counts), 0),
        "most": formats.number_format(most, 0) if most else "",
        "bars": mark_safe("\n".join(bars)),  # noqa: S308 (escaped above)
    }  # fmt: skip


def _bar(x: int, height: int, url: str, told: str) -> str:
    """Return a bar that links to its list from anywhere in its column. A template is slow for so many."""
    return (
        f'<a href="{url}" aria-label="{told}"><title>{told}</title>'
        f'<rect class="st-hit" x="{x}" y="0" width="1" height="100"/>'
        f'<rect class="st-bar-of" x="{x}.12" y="{100 - height}" width=".76" height="{height}"/></a>'
    )


def _places(places: Sequence[str]) -> str:
    """Return the first places, and how many more there are."""
    told = ", ".join(display.shown(place) for place in places[:MOST_PLACES])
    more = len(places) - MOST_PLACES
    if more <= 0:
        return told
    return ngettext("%(told)s and %(more)s more", "%(told)s and %(more)s more", more) % {
        "told": told,
        "more": more,
    }


def kind_name(kind: Kind) -> str:
    """Return the name of a kind of failure, as a sentence has it."""
    return kind.line or display.shown(kind.category)


def number(count: int, cap: int | None = None) -> str:
    """Return a count; one beyond ``cap`` stands for more than that."""
    is_more = cap is not None and count > cap
    return formats.number_format(min(count, cap or count), 0) + ("+" if is_more else "")


def percentage(share: float | None) -> str:
    """Return a share, with a digit after the point where it is small."""
    if share is None:
        return display.EMPTY
    hundredths = share * 100
    return f"{formats.number_format(hundredths, 1 if hundredths < 10 else 0)} %"


def about(length: timedelta) -> str:
    """Return a length in its greatest unit, as exactly as it is known."""
    seconds = max(length.total_seconds(), 0)
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{_two_digits(seconds / unit)} {name}"
    return f"{_two_digits(seconds)} s"


def _two_digits(value: float) -> str:
    return formats.number_format(round(value, 1) if value < 9.95 else round(value), 1 if value < 9.95 else 0)
