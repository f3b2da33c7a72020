"""Render the overview's numbers, each with the address of the list behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..conf import app_settings
from ..lifecycle import Meaning
from . import display
from .linked_filters import failure_value
from .overview_figures import Figures, Kind, Sender, Span, TaskType
from .paginator import MAX_COUNT

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
        return f"{self.tasks(meaning=meaning.value, **filters)}&{in_span('last_received_at', span)}"

    def rejected_in(self, span: Span, **filters: str) -> str | None:
        """Return the address of the deliveries that were rejected in the span."""
        url = self.rejected(**filters)
        return url and f"{url}{'&' if filters else '?'}{in_span('received_at', span)}"

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


def in_span(parameter: str, span: Span) -> str:
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
            _("oldest: %(length)s") % {"length": about(told.now - queued_since)} if queued_since else "",
        ),
        _tile(
            "silent", display.SILENT_NAME, standing["silent"], lists.tasks(silent="1"),
            _("%(of)s; %(count)s lost") % {"of": silent_of, "count": standing["lost"]}
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
    """Return a share, with one decimal if it is small."""
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
