"""Read a task's events for its page, within bounds however many there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from django.utils.safestring import SafeString

from ..conf import AppSettings
from ..models import Task, TaskStatusEvent
from . import timeline, timeline_html
from .timeline import Entry

#: The events on a page of the timeline: the last ones. A live page that was paused also gets no more.
PAGE = 100
#: The events in a block of the timeline. A live page asks for its newest block again.
BLOCK = 50
#: The earlier events that are read to find what the first one of a block changed, and what came late.
CONTEXT = 50
#: A task with more events than this has no phases on its page.
MAX_WHOLE = 1000
#: The events that plots are drawn from, at most.
MAX_DRAWN = 150
#: Metadata that takes more bytes in its row is neither drawn nor shown on a task's page.
MAX_METADATA = 4000


@dataclass(frozen=True, slots=True)
class Timeline:
    """A part of a task's timeline as markup."""

    #: The newest first.
    blocks: Sequence[SafeString]
    #: The id before which the earlier events are; None if there are none.
    earlier: int | None


def page_before(
    task: Task, before: int | None, settings: AppSettings, event_url: Callable[[int], str] | None
) -> Timeline:
    """Return the last events received before the one with the id ``before``, or the last of all."""
    events = _of(task) if before is None else _of(task).filter(pk__lt=before)
    found = list(events.for_timeline()[: PAGE + CONTEXT])
    return _told(found, found[:PAGE], PAGE + CONTEXT, settings, event_url)


def page_since(
    task: Task, since: int, after: int, settings: AppSettings, event_url: Callable[[int], str] | None
) -> Timeline | None:
    """Return the events from the id ``since`` on, or None if none is newer than ``after``.

    Of more than ``PAGE`` events it returns the last ones.
    """
    new = list(_of(task).filter(pk__gte=since).for_timeline()[: PAGE + 1])
    if not new or new[0].pk <= after:
        return None
    if len(new) > PAGE:
        return page_before(task, None, settings, event_url)
    earlier = list(_of(task).filter(pk__lt=since).for_timeline()[:CONTEXT])
    return _told(new + earlier, new, len(new) + CONTEXT, settings, event_url)


def _told(
    found: Sequence[Any],
    page: Sequence[Any],
    most: int,
    settings: AppSettings,
    event_url: Callable[[int], str] | None,
) -> Timeline:
    """Return the blocks of ``page``; the events ``found`` before it tell what each one changed."""
    events = list(reversed(found))
    first = len(found) - len(page)
    blocks = []
    for start in range(first, len(events), BLOCK):
        context = max(start - CONTEXT, 0)
        ids = {event.pk for event in events[start : start + BLOCK]}
        entries = timeline.timeline(
            events[context : start + BLOCK],
            settings,
            is_from_start=context == 0 and len(found) < most,
        )
        blocks.append(timeline_html.block([entry for entry in entries if entry.event.pk in ids], event_url))
    return Timeline(blocks[::-1], events[first].pk if first else None)


@dataclass(frozen=True, slots=True)
class History:
    """The events that a task's page draws, and its phases and metadata."""

    #: The events that are drawn, in order.
    drawn: Sequence[Entry]
    #: The metadata by the event's id, without those that are too large.
    metadata: Mapping[int, Any]
    #: The last event that has metadata.
    latest: Entry | None
    #: All events; None if there are more than ``MAX_WHOLE``.
    whole: Sequence[Entry] | None


def history(task: Task, settings: AppSettings) -> History:
    """Return the events to draw, and the phases and metadata if the task has few enough events."""
    events = _of(task)
    last = timeline.in_order(_rows(events.for_plot()[: MAX_WHOLE + 1]), settings)
    is_whole = len(last) <= MAX_WHOLE
    sample = last if is_whole else timeline.in_order(_rows(events.sampled(task.task_id, MAX_DRAWN)), settings)
    drawn = thinned(sample, MAX_DRAWN)
    told = [entry for entry in (*drawn, *last) if _has_metadata(entry.event)]
    latest = told[-1] if told else None
    wanted = {entry.event.pk for entry in drawn} | ({latest.event.pk} if latest else set())
    metadata = events.filter(pk__in=wanted).small_metadata(MAX_METADATA) if told else {}
    return History(drawn, metadata, latest, last if is_whole else None)


def _rows(events: Any) -> list[Any]:
    """Return the events as plain objects, because a thousand instances of a model are slow."""
    rows = events.values(
        "pk", "timestamp", "received_at", "status", "progress", "idempotency_key", "payload_digest",
        "has_metadata",
    )  # fmt: skip
    return [SimpleNamespace(**row) for row in rows]


def _has_metadata(event: Any) -> bool:
    return bool(event.has_metadata)


def thinned(entries: Sequence[Entry], most: int) -> Sequence[Entry]:
    """Return about ``most`` entries spread evenly, and up to ``most`` more at which the status changes."""
    if len(entries) <= most:
        return entries
    step = (len(entries) - 1) / (most - 1)
    kept = {round(number * step) for number in range(most)}
    kept |= set([place for place, entry in enumerate(entries) if entry.changes_status][:most])
    return [entries[place] for place in sorted(kept)]


def _of(task: Task) -> Any:
    return TaskStatusEvent.objects.using(task._state.db).filter(task_id=task.task_id)
