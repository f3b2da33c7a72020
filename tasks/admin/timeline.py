"""Tell a task's history: pure functions of its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Any

from django.utils.translation import gettext as _

from ..conf import AppSettings
from ..lifecycle import Meaning, event_time, meaning_of, order_key, tie_of
from ..models import TaskStatusEvent
from .display import percent_change, shown

_COMPARED = (
    "event_type", "task_type", "entity_id", "origin_instance", "origin_zone", "origin_version",
    "error_category",
)  # fmt: skip


@dataclass(slots=True)
class Entry:
    """One event in a task's history."""

    event: TaskStatusEvent
    at: datetime
    meaning: Meaning
    #: Since the event before it; None for the first.
    since: timedelta | None = None
    #: Each change since the event before it, in words.
    changes: list[str] = field(default_factory=list)
    changes_status: bool = False
    #: Whether it was received after an event that follows it in time.
    is_late: bool = False
    #: Whether its timestamp was too far ahead of the clock, so that its time of receipt counts.
    is_ahead: bool = False
    #: Whether it changes nothing but the progress, or nothing at all.
    is_routine: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which the status stayed the same."""

    status: str
    meaning: Meaning
    length: timedelta | None


def in_order(events: Iterable[TaskStatusEvent], settings: AppSettings) -> list[Entry]:
    """Return the events in the total order that decides a task's state."""
    entries = [_entry(event, settings) for event in sorted(events, key=lambda one: _order(one, settings))]
    status: str | None = None
    for entry in entries:
        entry.changes_status = entry.event.status not in (None, status)
        status = entry.event.status if entry.event.status is not None else status
    return entries


def timeline(
    events: Iterable[TaskStatusEvent], settings: AppSettings, *, is_from_start: bool = True
) -> list[Entry]:
    """Return the events in order, each with what it changed.

    ``is_from_start`` says that they begin with the task's first one. Otherwise the status before them
    is not known, and no change from it is told.
    """
    entries = in_order(events, settings)
    words = _words()
    status: str | None = None
    is_known = is_from_start
    for previous, entry in pairwise(entries):
        if previous.event.status is not None:
            status, is_known = previous.event.status, True
        entry.since = entry.at - previous.at
        was = status if is_known else entry.event.status
        entry.changes = _changes(entry.event, previous.event, was, words)
    earliest_after: int | None = None
    for entry in reversed(entries):
        entry.is_late = earliest_after is not None and entry.event.pk > earliest_after
        earliest_after = entry.event.pk if earliest_after is None else min(earliest_after, entry.event.pk)
    for previous, entry in pairwise(entries):
        entry.is_routine = _is_routine(entry, previous)
    return entries


def _is_routine(entry: Entry, previous: Entry) -> bool:
    event: Any = entry.event
    is_marked = entry.is_late or entry.is_ahead or event.deliveries > 1 or event.error_start is not None
    return not is_marked and len(entry.changes) == (event.progress != previous.event.progress)


#: At least this many routine events in a row become one line.
SHORTEST_RUN = 3


def runs(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return the entries in groups: each run of routine ones is one, any other entry is one of its own."""
    groups: list[list[Entry]] = []
    for is_routine, group in groupby(entries, key=lambda entry: entry.is_routine):
        found = list(group)
        groups += [found] if is_routine and len(found) >= SHORTEST_RUN else [[one] for one in found]
    return groups


def _order(event: TaskStatusEvent, settings: AppSettings) -> bytes:
    tie = tie_of(bytes(event.payload_digest), bytes(event.idempotency_key))
    return order_key(vars(event), received_at=event.received_at, tie=tie, settings=settings)


def _entry(event: TaskStatusEvent, settings: AppSettings) -> Entry:
    at = event_time(event.timestamp, event.received_at, settings.clock_tolerance)
    is_ahead = event.timestamp is not None and at != event.timestamp
    return Entry(event, at, meaning_of(event.status, settings), is_ahead=is_ahead)


@dataclass(frozen=True, slots=True)
class _Words:
    """The words for changes, looked up once for a whole history because each look-up is slow."""

    change: str
    status: str
    progress: str
    columns: Mapping[str, str]

    def tell(self, name: str, was: str, now: str) -> str:
        return self.change % {"name": name, "was": was, "now": now}


def _words() -> _Words:
    return _Words(
        change=_("%(name)s: %(was)s → %(now)s"),
        status=_("status"),
        progress=_("progress"),
        columns={
            column: str(TaskStatusEvent._meta.get_field(column).verbose_name)  # type: ignore[union-attr]
            for column in _COMPARED
        },
    )


def _changes(
    event: TaskStatusEvent, previous: TaskStatusEvent, status: str | None, words: _Words
) -> list[str]:
    changes = []
    if event.status is not None and event.status != status:
        changes.append(words.tell(words.status, shown(status), shown(event.status)))
    if event.progress != previous.progress:
        changes.append(words.tell(words.progress, *percent_change(previous.progress, event.progress)))
    for column, name in words.columns.items():
        value = getattr(event, column)
        # Null says nothing, so that it changes nothing either.
        if value is not None and value != getattr(previous, column):
            changes.append(words.tell(name, shown(getattr(previous, column)), shown(value)))
    return changes


def phases(entries: Sequence[Entry], now: datetime) -> list[Phase]:
    """Return the phases one after another; the last one of a task that has not ended lasts until ``now``."""
    starts: list[Entry] = []
    for entry in entries:
        status = entry.event.status
        if status is not None and (not starts or status != starts[-1].event.status):
            starts.append(entry)
    ends: list[datetime | None] = [entry.at for entry in starts[1:]]
    if starts:
        ends.append(None if starts[-1].meaning.is_terminal else now)
    return [
        Phase(str(start.event.status), start.meaning, end - start.at if end else None)
        for start, end in zip(starts, ends, strict=True)
    ]
