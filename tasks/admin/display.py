"""Display values in the admin. Whatever a sender wrote becomes text, never markup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import quote_plus

from django.utils import formats, timezone
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst
from django.utils.translation import get_language, gettext_lazy, ngettext
from django.utils.translation import gettext as _

from ..conf import app_settings
from ..lifecycle import Meaning, meaning_of
from ..models import Task

#: Shown in place of a missing value.
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

#: The looks of a silent task, of a silent one that has probably ended, and of a lost one: symbol, name, word.
SILENT, SAID_ENDED, LOST = "silent", "said-ended", "lost"
_LOOKS = {
    SILENT: ("‖", gettext_lazy("Silent"), gettext_lazy("silent")),
    SAID_ENDED: ("‖", gettext_lazy("Silent, and probably ended"), gettext_lazy("ended?")),
    LOST: ("⚠", gettext_lazy("Lost"), gettext_lazy("lost")),
}
SILENT_SYMBOL, SILENT_NAME, _word = _LOOKS[SILENT]
LOST_SYMBOL, LOST_NAME, _word = _LOOKS[LOST]


def badge(status: str | None, meaning: Meaning | None = None) -> SafeString:
    """Return the badge of a status: the sender's word, with the symbol and colour of its meaning.

    The settings decide the meaning unless it is given. The CSS class comes from the meaning alone.
    """
    return _badge(status, (meaning or meaning_of(status, app_settings())).value, get_language())


def task_badge(task: Task, now: datetime, *, says_ended: bool = False) -> SafeString:
    """Return the badge of a task's status, or of its silence if it is silent or lost.

    ``says_ended`` tells that the event received last says that the silent task has ended.
    """
    if task.is_lost:
        return _badge(task.status, LOST, get_language())
    if task.is_silent(now):
        return _badge(task.status, SAID_ENDED if says_ended else SILENT, get_language())
    return badge(task.status, Meaning(task.meaning))


# A page shows the same few statuses over and over, and making the markup each time is most of a row's cost.
@lru_cache(maxsize=1024)
def _badge(status: str | None, look: str, language: str | None) -> SafeString:
    told = _("no status") if status is None else shown(status)
    if look in _LOOKS:
        symbol, name, word = map(str, _LOOKS[look])
    else:
        symbol, name, word = SYMBOLS[Meaning(look)], str(Meaning(look).label), told
    return format_html(
        '<span class="st-badge st-{}" title="{}: {}"><span aria-hidden="true">{}</span> {}</span>',
        look,
        name,
        told,
        symbol,
        word,
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
    """Return ``progress`` with at most one decimal, and as 100 only if it is exactly that."""
    tenths = Decimal(repr(progress)).quantize(Decimal("0.1"), ROUND_FLOOR)
    return f"{tenths.normalize():f} %"


def percent_change(was: float, now: float) -> tuple[str, str]:
    """Return two values of progress that differ, with as many digits as tell them apart."""
    told = percent(was), percent(now)
    return told if told[0] != told[1] else (f"{was:.15g} %", f"{now:.15g} %")


def shown(text: str | None) -> str:
    """Return a sender's text for people: a missing or blank one is named."""
    if text is None:
        return EMPTY
    return text if text.strip() else _("(blank)")


def link(url: str, text: SafeString | str) -> SafeString:
    """Return a link to an address of the admin's own, which needs no escape."""
    told = text if isinstance(text, SafeString) else escape(text)
    # For each cell of a list: mark_safe() takes several times as long.
    return SafeString(f'<a href="{url}">{told}</a>')  # escaped


def cut(text: str) -> SafeString | str:
    """Return a text for a cell of one line, with the whole text on hover."""
    if len(text) <= 10:
        return text
    told = escape(text)
    return SafeString(f'<span title="{told}">{told}</span>')  # escaped


def line(text: str | None) -> SafeString | str:
    """Return a text that has a line of its own in a narrow list: an element, unless it is missing."""
    told = escape(shown(text))
    return EMPTY if text is None else SafeString(f'<span title="{told}">{told}</span>')  # escaped


def local_time(at: datetime) -> datetime:
    """Return a time in the current zone, or in UTC at an end of the calendar that the zone is beyond."""
    try:
        return timezone.localtime(at)
    except (OverflowError, ValueError):
        return at.astimezone(UTC)


def exact(at: datetime | None) -> str:
    """Return a time to the millisecond, with its time zone."""
    return EMPTY if at is None else _told(at)[1]


def clock(at: datetime | None) -> str:
    """Return a time to the millisecond; the page names its time zone once."""
    return EMPTY if at is None else _told(at)[0]


_TO_THE_MILLISECOND = len("2026-11-27 01:02:03.456")


def _told(at: datetime) -> tuple[str, str]:
    """Return a time to the millisecond, as the page tells it and with its time zone."""
    local = local_time(at)
    told = local.isoformat(sep=" ", timespec="milliseconds")[:_TO_THE_MILLISECOND]
    with_zone = f"{told} {local.tzname()}"
    is_in_another_zone = local.tzinfo is UTC and timezone.get_current_timezone_name() != "UTC"
    return with_zone if is_in_another_zone else told, with_zone


def time_tag(at: datetime | None, text: str | None = None) -> SafeString | str:
    """Return a time, with its time zone on hover; ``text`` is shown instead of it."""
    return EMPTY if at is None else _time_tag(at, _told(at), text)


def time_tag_of_day(at: datetime, day_of: datetime) -> SafeString:
    """Return a time: without its date if it is that of ``day_of``, otherwise to the minute."""
    told = _told(at)
    date, _space, clock = told[0].partition(" ")
    is_same_day = local_time(day_of).date().isoformat() == date
    return _time_tag(at, told, clock if is_same_day else told[0][: len("2026-05-01 12:00")])


def _time_tag(at: datetime, told: tuple[str, str], text: str | None) -> SafeString:
    kind = "st-time" if text is None else "st-ago"
    return SafeString(  # a name of a zone and a text, escaped
        f'<time class="{kind}" datetime="{at.isoformat()}" title="{escape(told[1])}">'
        f"{escape(text or told[0])}</time>"
    )


def ago(at: datetime | None) -> SafeString | str:
    """Return how long ago it was, in one unit, with the exact time on hover."""
    if at is None:
        return EMPTY
    length = timezone.now() - at
    if not timedelta() <= length < LONGEST:
        return time_tag(at)
    return time_tag(at, _ago(_in_one_unit(length), get_language()))


@lru_cache(maxsize=1024)
def _ago(length: timedelta, language: str | None) -> str:
    return _("%(length)s ago") % {"length": duration(length)}


def in_one_unit(length: timedelta) -> str:
    """Return a duration in its greatest unit: ``3 min``, ``2 d``."""
    return duration(_in_one_unit(length))


def _in_one_unit(length: timedelta) -> timedelta:
    seconds = int(length.total_seconds())
    unit = 86_400 if seconds >= 86_400 else 3_600 if seconds >= 3_600 else 60 if seconds >= 60 else 1
    return timedelta(seconds=seconds // unit * unit)


#: No task takes longer. A time at an end of the calendar, such as Go's zero time, means that none is known.
LONGEST = timedelta(days=36_525)


def duration(length: timedelta | None) -> str:
    """Return a duration in its two greatest units: ``3 min 04 s``, ``2 d 05 h``, ``15 min``."""
    if length is None or abs(length) >= LONGEST:
        return EMPTY
    seconds = length.total_seconds()
    if seconds < 0:
        return f"-{duration(-length)}"
    if seconds < 60:
        tenths = int(seconds * 10) / 10
        return f"{formats.number_format(tenths, 0 if tenths.is_integer() else 1)} s"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02} h" if hour else f"{days} d"
    if hours:
        return f"{hours} h {minute:02} min" if minute else f"{hours} h"
    return f"{minutes} min {second:02} s" if second else f"{minutes} min"


def pretty_json(value: Any, element_id: str | None = None) -> SafeString | str:
    """Return JSON indented and collapsible; it is open if it is short."""
    if value in (None, {}):
        return EMPTY
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html(
        '<details class="st-json"{}{}><summary><span>{}</span></summary><pre tabindex="0">{}</pre></details>',
        format_html(' id="{}"', element_id) if element_id else "",
        " open" if text.count("\n") <= 20 else "",
        ngettext("%(count)s key", "%(count)s keys", len(value)) % {"count": len(value)},
        text,
    )


def text_block(text: str | None) -> SafeString | str:
    """Return a text of several lines as it is."""
    return EMPTY if text is None else format_html('<pre class="st-text" tabindex="0">{}</pre>', text)


def query(text: str) -> str:
    """Return ``text`` as a value of a query string."""
    return quote_plus(text)


def filter_details(
    title: Any, chosen: Any, note: Any, choices: Iterable[Any], form: SafeString | str = ""
) -> SafeString:
    """Return a filter of the bar above a list, which names what is chosen, with a form below the choices."""
    told = "" if chosen is None else f": <b>{conditional_escape(chosen)}</b>"
    help_text = f'<p class="help">{conditional_escape(note)}</p>' if note else ""
    return mark_safe(  # noqa: S308 (escaped)
        f'<details class="st-filter{" st-chosen" if told else ""}" name="st-filter">'
        f"<summary>{escape(capfirst(str(title)))}{told}</summary>\n"
        f'<div class="st-choices">{help_text}<ul>{filter_links(choices)}</ul>{form}</div></details>'
    )


def filter_links(choices: Iterable[Any]) -> SafeString:
    """Return the links of a filter's choices, which are a hundred in a list, without a template for each."""
    lines = []
    for one in choices:
        item, link = (' class="selected"', ' aria-current="true"') if one["selected"] else ("", "")
        url, told = escape(one["query_string"]), conditional_escape(one["display"])
        lines.append(f'<li{item}><a href="{url}"{link}>{told}</a></li>')
    return mark_safe("\n".join(lines))  # noqa: S308 (escaped)


def count_links(counts: Iterable[Mapping[str, Any]]) -> SafeString:
    """Return the counts above a list, each a link."""
    links = []
    for one in counts:
        attributes = f' id="{one["id"]}"' if "id" in one else ""
        attributes += f' title="{escape(one["title"])}"' if "title" in one else ""
        current = ' aria-current="true"' if one["is_current"] else ""
        calm = "st-none " if one["number"] == "0" else ""
        before = f'<span class="st-before">{escape(str(one["before"]))}</span> ' if one.get("before") else ""
        links.append(
            f'<li>{before}<a{attributes} class="st-count {calm}st-{one["name"]}" '
            f'href="{escape(one["url"])}"{current}>'
            f'<span aria-hidden="true">{one["symbol"]}</span> {escape(str(one["label"]))} '
            f"<strong>{one['number']}</strong></a></li>"
        )
    return mark_safe("".join(links))  # noqa: S308 (escaped; the rest is the app's own)
