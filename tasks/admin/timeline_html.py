"""Render a task's timeline, of which a page has a hundred entries.

Templates, and ``format_html`` for each part, are slow for so many. Here everything that a sender wrote goes
through ``escape``, and the whole is marked safe once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from ..ops.headline import headline
from . import display
from .timeline import Entry, runs

_Address = Callable[[int], str] | None


def block(entries: Sequence[Entry], event_url: _Address) -> SafeString:
    """Return a list of the entries, the newest first, with links if ``event_url`` is given.

    Runs of entries that change only the progress are folded. The list names its least and its greatest id,
    from which a live page asks for newer events.
    """
    ids = [entry.event.pk for entry in entries]
    items = "\n".join(_group(group, event_url) for group in reversed(runs(entries)))
    return mark_safe(  # noqa: S308 (escaped below)
        f'<ol class="st-events" id="st-block-{min(ids)}" data-live data-from="{min(ids)}" '
        f'data-last="{max(ids)}">{items}</ol>'
    )


def _group(group: Sequence[Entry], event_url: _Address) -> str:
    if len(group) == 1:
        return _item(group[0], event_url)
    first, last = group[0], group[-1]
    items = "".join(_routine(entry, event_url) for entry in reversed(group))
    was, now = first.event.progress, last.event.progress
    told = _("%(count)s events that change only the progress") % {"count": len(group)}
    took = _("in %(length)s") % {"length": display.duration(last.at - first.at)}
    progress = display.percent(now) if was == now else " → ".join(display.percent_change(was, now))
    return (
        f'<li class="st-run"><details id="st-run-{first.event.pk}"><summary>'
        f'{_time(last)} <span>{escape(told)}</span> <b>{progress}</b> <span class="st-since">{took}</span>'
        f"</summary><ol>{items}</ol></details></li>"
    )


def _routine(entry: Entry, event_url: _Address) -> str:
    """Return an entry of a run: its status is the one before the run."""
    percent = f'<span class="st-percent">{display.percent(entry.event.progress)}</span>'
    return f'<li class="st-event">{_time(entry)} {_since(entry)} {percent} {_link(entry, event_url)}</li>'


def _item(entry: Entry, event_url: _Address) -> str:
    return (
        f'<li class="st-event">{_time(entry)} {_since(entry)} '
        f"{display.badge(entry.event.status, entry.meaning)} "
        f'<span class="st-percent">{display.percent(entry.event.progress)}</span> '
        f'<span class="st-what">{_link(entry, event_url)}{"".join(_what_changed(entry))}</span></li>'
    )


def _since(entry: Entry) -> str:
    told = "" if entry.since is None else f"+{display.duration(entry.since)}"
    return f'<span class="st-since">{told}</span>'


def _link(entry: Entry, event_url: _Address) -> str:
    name = escape(display.shown(entry.event.event_type))
    return f'<a href="{event_url(entry.event.pk)}">{name}</a>' if event_url else f"<span>{name}</span>"


def _time(entry: Entry) -> str:
    return f'<time datetime="{entry.at.isoformat()}">{display.clock(entry.at)}</time>'


def _what_changed(entry: Entry) -> list[str]:
    event: Any = entry.event
    parts = []
    if entry.changes:
        parts.append(f"<ul>{''.join(f'<li>{escape(change)}</li>' for change in entry.changes)}</ul>")
    parts += [f' <span class="st-mark">{escape(mark)}</span>' for mark in _marks(entry)]
    if event.error_start is not None:
        parts.append(f'<p class="st-headline">{escape(headline(event.error_start, event.error_end))}</p>')
    return parts


def _marks(entry: Entry) -> list[str]:
    told, event = [], entry.event
    if event.deliveries > 1:
        told.append(_("duplicate: delivered %(count)s times") % {"count": event.deliveries})
    if entry.is_late:
        told.append(
            _("↩ late: received %(at)s, after a later event") % {"at": display.exact(event.received_at)}
        )
    if entry.is_ahead:
        told.append(_("⚠ clock ahead: the time of receipt counts"))
    return told
