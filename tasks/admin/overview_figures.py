"""The numbers of the overview, added up from the hours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from itertools import pairwise
from typing import Any

from django.utils import timezone

from ..handlers.standing import Standing
from ..lifecycle import Meaning
from ..ops.hours import HOUR, Counted, Details, hour_of, kind_key
from ..ops.lengths import length_at, merged_lengths

#: A failure rate counts as higher if chance exceeds it less than once in a thousand days: three standard
#: deviations, and at least this many failures.
_DEVIATIONS, _LEAST_FAILURES = 3, 5


@dataclass(frozen=True, slots=True)
class Span:
    """The counts from one hour until another."""

    start: datetime
    end: datetime
    succeeded: int
    failed: int
    cancelled: int
    #: Rejected deliveries that were kept, and those that were only counted.
    rejected: int
    others: int

    @property
    def rate(self) -> float | None:
        """The share that failed of those that succeeded or failed."""
        judged = self.succeeded + self.failed
        return self.failed / judged if judged else None


@dataclass(slots=True)
class Kind:
    """A kind of failure: its tasks of the last day, and its first time in two weeks and its last."""

    category: str | None
    line: str
    since: datetime
    last: datetime
    #: No task of the kind was heard from before the last day.
    is_new: bool = True
    tasks: int = 0
    zones: list[str] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)


@dataclass(slots=True)
class TaskType:
    """The tasks of a type that ended in the last day."""

    name: str
    ended: int = 0
    failed: int = 0
    #: p50 and p95, if any task has the length.
    waited: tuple[timedelta, timedelta] | None = None
    ran: tuple[timedelta, timedelta] | None = None


@dataclass(slots=True)
class Sender:
    """A client that sent something: its last event, and its rejected deliveries of the last day."""

    name: str
    last: datetime | None = None
    rejected: int = 0
    others: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of the page."""

    now: datetime
    day: Span
    week_before: Span
    hours: Sequence[Span]
    days: Sequence[Span]
    failures: Sequence[Kind]
    types: Sequence[TaskType]
    senders: Sequence[Sender]
    standing: Mapping[str, Any]
    still_rejected: int | None
    handlers: Sequence[Standing]
    #: The shortest time that a task of any type may be silent; None if there is no limit.
    silence_limit: timedelta | None
    #: Hours of the past that are not counted yet.
    missing: int

    @property
    def fails_more(self) -> bool:
        """Whether clearly more tasks failed than in the week before."""
        judged, usual = self.day.succeeded + self.day.failed, self.week_before.rate
        if self.missing or usual is None or self.day.failed < _LEAST_FAILURES:
            return False
        expected = judged * usual
        return self.day.failed - expected > _DEVIATIONS * math.sqrt(expected * (1 - usual))

    @property
    def new_failures(self) -> list[Kind]:
        """The kinds of failure that did not occur before the last day, if anything did."""
        if self.missing or self.week_before.rate is None:
            return []
        return [kind for kind in self.failures if kind.is_new]

    @property
    def failures_need_you(self) -> bool:
        """Whether a kind of failure is new, or clearly more tasks fail."""
        return self.fails_more or bool(self.new_failures)

    @property
    def silent_senders(self) -> list[Sender]:
        """The senders that may be why tasks are silent: of them, too, nothing was heard for as long."""
        if not self.standing["silent"] or self.silence_limit is None:
            return []
        heard_before = self.now - self.silence_limit
        return [one for one in self.senders if one.last is not None and one.last < heard_before]

    @property
    def last_heard(self) -> datetime | None:
        """When an event of any sender was received last."""
        return max((one.last for one in self.senders if one.last is not None), default=None)

    @property
    def is_all_silent(self) -> bool:
        """Whether tasks are silent and so is every sender: then it is hardly the tasks."""
        heard = [one for one in self.senders if one.last is not None]
        return bool(heard) and len(self.silent_senders) == len(heard)


def figures(counted: Counted, now: datetime, **live: Any) -> Figures:
    """Add up the hours; ``live`` holds the figures that each request queries."""
    end = hour_of(now) + HOUR
    start = end - 24 * HOUR
    of_day = counted.details_within(start, end)
    return Figures(
        now=now,
        day=_span(counted, start, end),
        week_before=_span(counted, start - timedelta(days=7), start),
        hours=[_span(counted, start + number * HOUR, start + (number + 1) * HOUR) for number in range(24)],
        days=list(_days(counted, now)),
        failures=_kinds(counted, of_day, start),
        types=_types(of_day),
        senders=_senders(counted, of_day, live.pop("last_events")),
        missing=counted.missing,
        **live,
    )


def _days(counted: Counted, now: datetime) -> Iterable[Span]:
    """Yield the last fourteen days of the current time zone, in whole hours."""
    today = timezone.localdate(now)
    midnights = [
        timezone.make_aware(datetime.combine(today - timedelta(days=13 - number), time()))
        for number in range(15)
    ]
    for start, end in pairwise(midnights):
        yield _span(counted, hour_of(start), hour_of(end))


def _span(counted: Counted, start: datetime, end: datetime) -> Span:
    hours = counted.within(start, end)
    sums = {
        name: sum(counts[name] for counts in hours)
        for name in ("succeeded", "failed", "cancelled", "rejected", "others")
    }
    return Span(start, end, **sums)


def _kinds(counted: Counted, of_day: Iterable[Details], start: datetime) -> list[Kind]:
    """Return the kinds of failure of the day, the most frequent first."""
    kinds: dict[tuple[str | None, str], Kind] = {}
    for counts in of_day:
        for told in counts["failures"]:
            first, last = (datetime.fromisoformat(told[name]) for name in ("first", "last"))
            kind = kinds.setdefault(
                (told["category"], told["line"]), Kind(told["category"], told["line"], first, last)
            )
            kind.tasks += told["tasks"]
            kind.since, kind.last = min(kind.since, first), max(kind.last, last)
            for name in ("zones", "instances"):
                known = getattr(kind, name)
                known += [place for place in told[name] if place not in known]
    keys = {kind_key(kind.category, kind.line): kind for kind in kinds.values()}
    for hour, counts in counted.hours.items():
        if hour < start:
            for key in keys.keys() & counts["kinds"].keys():
                keys[key].since = min(keys[key].since, datetime.fromisoformat(counts["kinds"][key]))
                keys[key].is_new = False
    return sorted(kinds.values(), key=lambda kind: (-kind.tasks, -kind.last.timestamp()))


def _types(of_day: Sequence[Details]) -> list[TaskType]:
    types: dict[str, TaskType] = {}
    for counts in of_day:
        for name, meaning, tasks in counts["ended"]:
            one = types.setdefault(name, TaskType(name))
            one.ended += tasks
            one.failed += tasks if meaning == Meaning.FAILED else 0
    for (name, measured), powers in merged_lengths(of_day).items():
        # A task may have ended between the query for the counts and that for the lengths.
        one = types.setdefault(name, TaskType(name))
        setattr(one, measured, (length_at(powers, 0.5), length_at(powers, 0.95)))
    return sorted(types.values(), key=lambda one: -one.ended)


def _senders(
    counted: Counted, of_day: Sequence[Details], last_events: Mapping[str, datetime]
) -> list[Sender]:
    """Return the clients whose events are stored, or of which something was rejected in the two weeks."""
    senders = {name: Sender(name, last) for name, last in last_events.items()}
    for counts in counted.hours.values():
        for name in counts["sources"]:
            senders.setdefault(name, Sender(name))
    for counts in of_day:
        for name, kept, others in counts["rejected"]:
            senders[name].rejected += kept
            senders[name].others += others
    return sorted(senders.values(), key=lambda one: (one.last is None, one.last and -one.last.timestamp()))
