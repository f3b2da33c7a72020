"""A task's history as it is told on its page: pure functions of its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR, MINYEAR, datetime, timedelta

from django.utils.translation import gettext as _

from ..conf import AppSettings
from ..lifecycle import Meaning, event_time, meaning_of, order_key, tie_of
from ..models import TaskStatusEvent
from .display import percent_change, shown

_COMPARED = (
    "event_type", "task_type", "entity_id", "origin_instance", "origin_zone", "origin_version",
    "error_category",
)  # fmt: skip

#: The plot's size, in the units of its own coordinates.
WIDTH, HEIGHT = 640, 120


@dataclass(slots=True)
class Entry:
    """One event in a task's history."""

    event: TaskStatusEvent
    at: datetime
    meaning: Meaning
    #: Since the event before it; None for the first.
    since: timedelta | None = None
    #: What is not as it was before, in words.
    changes: list[str] = field(default_factory=list)
    changes_status: bool = False
    #: It was received after an event that follows it in time.
    is_late: bool = False
    #: Its timestamp was too far ahead of the clock, and its time of receipt counts.
    is_ahead: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which the status stayed the same."""

    status: str
    meaning: Meaning
    length: timedelta | None


def timeline(events: Iterable[TaskStatusEvent], settings: AppSettings) -> list[Entry]:
    """Return the events in the total order that decides a task's state, each with what it changed."""
    ordered = sorted(events, key=lambda event: _order(event, settings))
    entries = [_entry(event, settings) for event in ordered]
    words = _words()
    status: str | None = None
    for place, entry in enumerate(entries):
        if place:
            previous = entries[place - 1]
            entry.since = entry.at - previous.at
            entry.changes = _changes(entry.event, previous.event, status, words)
        entry.changes_status = entry.event.status not in (None, status)
        status = entry.event.status if entry.event.status is not None else status
    earliest_after: int | None = None
    for entry in reversed(entries):
        entry.is_late = earliest_after is not None and entry.event.pk > earliest_after
        earliest_after = entry.event.pk if earliest_after is None else min(earliest_after, entry.event.pk)
    return entries


def _order(event: TaskStatusEvent, settings: AppSettings) -> bytes:
    tie = tie_of(bytes(event.payload_digest), bytes(event.idempotency_key))
    return order_key(vars(event), received_at=event.received_at, tie=tie, settings=settings)


def _entry(event: TaskStatusEvent, settings: AppSettings) -> Entry:
    at = event_time(event.timestamp, event.received_at, settings.clock_tolerance)
    is_ahead = event.timestamp is not None and at != event.timestamp
    return Entry(event, at, meaning_of(event.status, settings), is_ahead=is_ahead)


@dataclass(frozen=True, slots=True)
class _Words:
    """What changes are told in: looked up once for a whole history, as each look-up costs a row's time."""

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


@dataclass(frozen=True, slots=True)
class Plot:
    """The progress over time as coordinates of an SVG."""

    line: str
    #: Where the status changes: x, y, the entry.
    points: Sequence[tuple[str, str, Entry]]
    start: datetime
    end: datetime


def plot(entries: Sequence[Entry]) -> Plot | None:
    """Return the plot of the entries, or None where less than two times are known.

    A time at an end of the calendar, such as Go's zero time, has no place in it: it would press all
    others into one point.
    """
    entries = [entry for entry in entries if MINYEAR < entry.at.year < MAXYEAR]
    times = [entry.at for entry in entries]
    if not times or min(times) == max(times):
        return None
    start, end = min(times), max(times)

    def place(entry: Entry) -> tuple[str, str, Entry]:
        x = (entry.at - start) / (end - start) * WIDTH
        return f"{x:.1f}", f"{HEIGHT - entry.event.progress / 100 * HEIGHT:.1f}", entry

    places = [place(entry) for entry in entries]
    points = [one for one in places if one[2].changes_status]
    return Plot(" ".join(f"{x},{y}" for x, y, _entry in places), points, start, end)
