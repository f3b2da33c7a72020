"""Draw the overview's charts: bars that are links to the lists behind them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from html import escape
from typing import Any

from django.utils import formats, timezone
from django.utils.safestring import mark_safe
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from .overview_figures import Figures, Span
from .overview_html import Lists, in_span

#: The least height of a bar that stands for anything, of a hundred.
LEAST_HEIGHT = 6


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
            bars.append(_bar(x, height, escape(f"{base}{in_span(column, span)}"), escape(told)))
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


@lru_cache(maxsize=4096)
def _when(at: datetime, zone: tzinfo, form: str, language: str | None) -> str:
    """Return a time in words. Each word of it takes a look-up, so it is cached."""
    return formats.date_format(at.astimezone(zone), form)


@lru_cache(maxsize=4096)
def _count(count: int, language: str | None) -> str:
    """Return a count as the language writes it."""
    return formats.number_format(count, 0)
