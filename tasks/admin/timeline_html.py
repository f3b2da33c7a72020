"""The rows of a task's history as markup: a thousand of them are one page.

A template's nodes, and ``format_html`` for each cell, took more than half of that page's time.
Here whatever a sender wrote goes through ``escape``, and the whole is marked safe once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from . import display
from .headline import headline
from .timeline import Entry


def rows(entries: Sequence[Entry], event_url: Callable[[int], str] | None) -> SafeString:
    """Return a table's row for each entry, the newest first, linked where ``event_url`` tells addresses."""
    return mark_safe("\n".join(_row(entry, event_url) for entry in reversed(entries)))  # noqa: S308 (escaped below)


def _row(entry: Entry, event_url: Callable[[int], str] | None) -> str:
    event = entry.event
    since = "" if entry.since is None else f"+{display.duration(entry.since)}"
    name = escape(display.shown(event.event_type))
    link = f'<a href="{event_url(event.pk)}">{name}</a>' if event_url else name
    return (
        f"<tr><td>{display.exact(entry.at)}</td><td>{since}</td>"
        f"<td>{display.badge(event.status, entry.meaning)}</td><td>{display.percent(event.progress)}</td>"
        f"<td>{link}</td><td>{''.join(_what_changed(entry))}</td></tr>"
    )


def _what_changed(entry: Entry) -> list[str]:
    parts = []
    if entry.changes:
        parts.append(f"<ul>{''.join(f'<li>{escape(change)}</li>' for change in entry.changes)}</ul>")
    parts += [f'<span class="st-mark">{escape(mark)}</span> ' for mark in _marks(entry)]
    if entry.event.error_message is not None:
        parts.append(f'<p class="st-headline">{escape(headline(entry.event.error_message))}</p>')
    return parts


def _marks(entry: Entry) -> list[str]:
    told, event = [], entry.event
    if event.deliveries > 1:
        told.append(_("duplicate: delivered %(count)s times") % {"count": event.deliveries})
    if entry.is_late:
        told.append(_("↩ late: received %(at)s") % {"at": display.exact(event.received_at)})
    if entry.is_ahead:
        told.append(_("⚠ its clock is ahead: the time of receipt counts"))
    return told
