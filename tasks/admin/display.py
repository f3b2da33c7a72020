"""How values look in the admin. What a sender wrote only ever becomes text."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus

from django.contrib.humanize.templatetags.humanize import naturaltime
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from ..conf import app_settings
from ..lifecycle import Meaning, meaning_of

#: What stands for nothing.
EMPTY = "—"

#: A symbol for each meaning, so that a badge is read without its colour.
SYMBOLS = {
    Meaning.QUEUED: "◷",
    Meaning.RUNNING: "▶",
    Meaning.SUCCEEDED: "✔",
    Meaning.FAILED: "✖",
    Meaning.CANCELLED: "⊘",
    Meaning.OTHER: "?",
}


def badge(status: str | None, meaning: Meaning | None = None) -> SafeString:
    """Return the badge of a status: the sender's word, with the symbol and colour of what it means.

    ``meaning`` is what the settings say unless given. The class comes from the meaning alone.
    """
    return _badge(status, meaning or meaning_of(status, app_settings()), get_language())


# A page shows the same few statuses over and over, and to make the markup anew is most of a row's cost.
@lru_cache(maxsize=1024)
def _badge(status: str | None, meaning: Meaning, language: str | None) -> SafeString:
    return format_html(
        '<span class="st-badge st-{}" title="{}"><span aria-hidden="true">{}</span> {}</span>',
        meaning.value,
        meaning.label,
        SYMBOLS[meaning],
        _("no status") if status is None else shown(status),
    )


def progress_bar(progress: float, meaning: Meaning) -> SafeString:
    """Return a progress bar with its number."""
    return _progress_bar(progress, meaning, get_language())


@lru_cache(maxsize=1024)
def _progress_bar(progress: float, meaning: Meaning, language: str | None) -> SafeString:
    return format_html(
        '<span class="st-progress st-{}">'
        '<progress max="100" value="{}" aria-label="{}"></progress> {}</span>',
        meaning.value,
        f"{progress:g}",
        _("Progress"),
        percent(progress),
    )


def percent(progress: float) -> str:
    """Return ``progress`` with at most one digit, and 100 only where it is that."""
    tenths = int(progress * 10) / 10
    return f"{tenths:g} %"


def shown(text: str | None) -> str:
    """Return a sender's text to be read: nothing and blanks are named."""
    if text is None:
        return EMPTY
    return text if text.strip() else _("(blank)")


def first_line(text: str | None, length: int = 90) -> str:
    """Return the first line of ``text`` that says something, cut to ``length``."""
    lines = (text or "").strip().splitlines()
    return str(Truncator(lines[0]).chars(length)) if lines else ""


def exact(at: datetime | None) -> str:
    """Return a time to the millisecond, in the current time zone."""
    if at is None:
        return EMPTY
    local = timezone.localtime(at)
    told, zone = local.replace(tzinfo=None), local.tzname()
    return f"{told.isoformat(sep=' ', timespec='milliseconds')} {zone}"


def time_tag(at: datetime | None, text: str | None = None) -> SafeString | str:
    """Return a time, by default exactly, with the exact time on hover."""
    if at is None:
        return EMPTY
    told = exact(at)
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), told, text or told)


def ago(at: datetime | None) -> SafeString | str:
    """Return how long ago it was, with the exact time on hover."""
    return EMPTY if at is None else time_tag(at, str(naturaltime(at)))


def duration(length: timedelta | None) -> str:
    """Return a duration in its two greatest units: ``3 min 04 s``, ``2 d 05 h``."""
    if length is None:
        return EMPTY
    seconds = length.total_seconds()
    if seconds < 0:
        return f"-{duration(-length)}"
    if seconds < 60:
        return f"{formats.number_format(int(seconds * 10) / 10, 1)} s"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02} h"
    return f"{hours} h {minute:02} min" if hours else f"{minutes} min {second:02} s"


def pretty_json(value: Any) -> SafeString | str:
    """Return JSON indented and collapsible; what is short stands open."""
    if value in (None, {}):
        return EMPTY
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html(
        '<details class="st-json"{}><summary>{}</summary><pre tabindex="0">{}</pre></details>',
        " open" if text.count("\n") <= 20 else "",
        _("%(count)s keys") % {"count": len(value)},
        text,
    )


def text_block(text: str | None) -> SafeString | str:
    """Return a text of several lines as it is."""
    return EMPTY if text is None else format_html('<pre class="st-text" tabindex="0">{}</pre>', text)


def query(text: str) -> str:
    """Return ``text`` as a value of a query string."""
    return quote_plus(text)
