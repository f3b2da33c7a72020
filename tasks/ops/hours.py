"""Count what happened in each hour, once the hour is over, and keep the counts.

Deliveries do not count: on a counter's row they would wait for each other, and a late event may change what
an hour holds. Counting two weeks of a large ledger for each reader would be slow. So a reader counts the
hours that are missing or outdated, within a budget of time, and keeps them for the next reader.

A task belongs to the hour in which it was last heard from, by the receiver's clock. So a sender with a wrong
clock cannot hide a failure, and the list of tasks has the same filter and an index for it. The times of the
events tell when the tasks of a kind of failure failed.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from typing import Any

from django.db import Error, router, transaction
from django.db.models import Case, Count, DateTimeField, F, Min, Sum, TextField, Value, When
from django.db.models.functions import Cast, TruncHour

from ..lifecycle import TERMINAL, Meaning
from ..models import Overview, RejectedDelivery, Task
from .headline import alike, headline
from .lengths import lengths_by_hour

HOUR = timedelta(hours=1)
#: Two weeks of days in any time zone, and the hour that a change of the clocks adds.
HOURS = 14 * 24 + 2
#: The hours with details: a day, and the hour that has begun.
DETAILED = 25
#: This long after an hour, none of its deliveries can still be uncommitted.
SETTLED = timedelta(minutes=10)
#: For each hour, the lengths and the errors of at most this many tasks are read: of the newest.
MOST_READ = 1000
#: At most this many kinds of failure are kept for an hour, and this many places for each kind.
MOST_KINDS, MOST_PLACES = 50, 20

#: What is known about an hour, as JSON: see ``summary()`` and ``count_hours()``.
Counts = Mapping[str, Any]
Details = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts of each hour that has any, the details of the last ones, and how many are missing."""

    hours: Mapping[datetime, Counts]
    details: Mapping[datetime, Details]
    missing: int

    def within(self, start: datetime, end: datetime) -> list[Counts]:
        """Return the counts of the hours from ``start`` until ``end``."""
        return _within(self.hours, start, end)

    def details_within(self, start: datetime, end: datetime) -> list[Details]:
        """Return the details of the hours from ``start`` until ``end``, which lie within a day from now."""
        return _within(self.details, start, end)


def _within(hours: Mapping[datetime, Any], start: datetime, end: datetime) -> list[Any]:
    wanted = (hours.get(start + HOUR * number) for number in range((end - start) // HOUR))
    return [one for one in wanted if one is not None]


def hour_of(at: datetime) -> datetime:
    """Return the beginning of the hour."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def counted_hours(now: datetime, *, budget: timedelta) -> Counted:
    """Return the counts of the last two weeks; count those that are missing, the newest first.

    Once ``budget`` is spent, the rest is left to the next reader; each reader counts at least a day.
    Several readers may do so at once: each row holds one hour, and the last reader to write it wins.
    """
    wanted = [hour_of(now) - HOUR * number for number in range(HOURS)]
    known = _known(wanted[-1], detailed=wanted[DETAILED - 1])
    live = [hour for hour in wanted if hour + HOUR + SETTLED > now]
    missing = [hour for hour in wanted if hour not in known and hour not in live]
    if missing:
        begin = _begin(now)
        missing = [hour for hour in missing if hour >= begin]
    outdated = [hour for hour in wanted if hour in known and _is_outdated(hour, known[hour][0], now)]
    details = count_hours(live)
    kept = []
    end = time.monotonic() + budget.total_seconds()
    for hours in [*_days(missing), *_days(hour for hour in outdated if hour not in live)]:
        told = count_hours(hours)
        details |= told
        kept += [
            Overview(hour=hour, counted_at=now, counts=summary(one), details=one)
            for hour, one in told.items()
        ]
        if time.monotonic() >= end:
            break
    _keep(kept, oldest=wanted[-1])
    all_hours = {hour: counts for hour, (_age, counts, _details) in known.items()}
    all_hours |= {hour: summary(one) for hour, one in details.items()}
    details = {hour: kept for hour, (_age, _counts, kept) in known.items() if kept is not None} | details
    return Counted(all_hours, details, missing=sum(hour not in all_hours for hour in missing))


def summary(details: Details) -> Counts:
    """Return what is kept about an hour for two weeks: sums, and when each kind of failure occurred first."""
    ended = {meaning.value: 0 for meaning in sorted(TERMINAL)}
    for _task_type, meaning, tasks in details["ended"]:
        ended[meaning] += tasks
    return {
        **ended,
        "rejected": sum(kept for _source, kept, _others in details["rejected"]),
        "others": sum(others for _source, _kept, others in details["rejected"]),
        "sources": [source for source, *_counts in details["rejected"]],
        "kinds": {kind_key(kind["category"], kind["line"]): kind["first"] for kind in details["failures"]},
    }


def kind_key(category: str | None, line: str) -> str:
    """Return a short name for a kind of failure."""
    return blake2b(json.dumps([category, line]).encode(), digest_size=6).hexdigest()


def _days(hours: Iterable[datetime]) -> list[list[datetime]]:
    """Return the hours, which are in falling order, in a list for each day."""
    return [list(of_day) for _day, of_day in groupby(hours, key=datetime.date)]


def _known(oldest: datetime, *, detailed: datetime) -> dict[datetime, tuple[timedelta, Counts, Any]]:
    """Return how old each kept hour was when it was counted, its counts, and its details from ``detailed``.

    Times are read as lengths, because Django reads PostgreSQL's times slowly, in Python. JSON is read as
    text, because the next reader reads almost the same.
    """
    rows = Overview.objects.filter(hour__gte=oldest)
    counts, details = Cast("counts", TextField()), Cast("details", TextField())
    age, of_last = F("counted_at") - F("hour"), Case(When(hour__gte=detailed, then=details))
    told = rows.values_list(_since(oldest, "hour"), age, counts, of_last)
    return {
        oldest + since: (age, _parsed(counts), None if details is None else _parsed(details))
        for since, age, counts, details in told
    }


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Any:
    """Return what the text of an hour says. Nobody may change it: it is the same object the next time."""
    return json.loads(text)


def _since(start: datetime, column: str) -> Any:
    return F(column) - Value(start, DateTimeField())


def _is_outdated(hour: datetime, age: timedelta, now: datetime) -> bool:
    """Return whether an hour is to be counted again: it is older by a quarter than when it was counted.

    Tasks that are heard from again leave the hour, and deliveries that are tried again join it. Both become
    rarer with time.
    """
    return now - hour > age * 1.25


def _begin(now: datetime) -> datetime:
    """Return the first hour that can hold anything: a new ledger has no two weeks to count."""
    first_heard = Task.objects.aggregate(at=Min("last_received_at"))["at"]
    first_rejected = RejectedDelivery.objects.aggregate(at=Min("received_at"))["at"]
    return hour_of(min(first_heard or now, first_rejected or now))


def _keep(rows: Sequence[Overview], *, oldest: datetime) -> None:
    """Write ``rows``, over those of other readers. If the database cannot be written to, go without."""
    if not rows:
        return
    using = router.db_for_write(Overview)
    try:
        with transaction.atomic(using=using):
            Overview.objects.using(using).bulk_create(
                # In one order, so that no two readers wait for each other.
                sorted(rows, key=lambda one: one.hour),
                update_conflicts=True,
                unique_fields=["hour"],
                update_fields=["counted_at", "counts", "details"],
            )
            Overview.objects.using(using).filter(hour__lt=oldest).delete()
    except Error:
        pass  # the next reader counts them again


def count_hours(hours: Sequence[datetime]) -> dict[datetime, Details]:
    """Count what happened in each of some hours that lie close together."""
    start, end = min(hours), max(hours) + HOUR
    tasks = Task.objects.heard_within(start, end)
    most = MOST_READ * len(hours)
    counts: dict[datetime, Any] = defaultdict(
        lambda: {"ended": [], "lengths": [], "failures": [], "rejected": []}
    )
    read = _read(tasks.ended().newest(most), start, end)
    is_all = len(read) < most
    for hour, *ended in _tally(read) if is_all else _ended(tasks.ended()):
        counts[hour]["ended"].append(ended)
    for hour, lengths in lengths_by_hour(read).items():
        counts[hour]["lengths"] = lengths
    if not is_all or any(meaning == Meaning.FAILED for _hour, _type, meaning, *_lengths in read):
        for hour, kinds in _failures(tasks.failed().newest(most)).items():
            counts[hour]["failures"] = kinds
    for hour, *rejected in _rejected(start, end):
        counts[hour]["rejected"].append(rejected)
    return {hour: counts[hour] for hour in hours}


def _read(ended: Any, start: datetime, end: datetime) -> list[tuple[Any, ...]]:
    """Return the hour, task type and meaning of each task, how long it waited, and how long it ran."""
    waited, ran = F("first_running_at") - F("first_queued_at"), F("first_ended_at") - F("first_running_at")
    columns = (_since(start, "last_received_at"), "task_type", "meaning", waited, ran)
    hours = [start + HOUR * number for number in range((end - start) // HOUR)]
    return [(hours[since // HOUR], *told) for since, *told in ended.values_list(*columns)]


def _tally(read: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Do as ``_ended()`` with tasks that are read."""
    return [(*group, tasks) for group, tasks in Counter(told[:3] for told in read).items()]


def _ended(ended: Any) -> Any:
    """Return the number of tasks that ended, by hour, task type and meaning."""
    by_hour = ended.annotate(hour=TruncHour("last_received_at", tzinfo=UTC)).order_by()
    groups = by_hour.values("hour", "task_type", "meaning").annotate(tasks=Count("pk"))
    return groups.values_list("hour", "task_type", "meaning", "tasks")


def _failures(failed: Any) -> dict[datetime, list[Any]]:
    """Return the kinds of failure of each hour with their first and last time, the most frequent first."""
    hours: dict[datetime, dict[tuple[str | None, str], dict[str, Any]]] = {}
    columns = (
        "last_received_at", "status_at", "error_category", "error_start", "error_end", "origin_zone",
        "origin_instance",
    )  # fmt: skip
    for received, at, category, first, last, zone, instance in failed.with_ends_of_error().values_list(
        *columns
    ):
        line = alike(headline(first, last))
        new = {
            "category": category, "line": line, "tasks": 0, "first": at, "last": at,
            "zones": [], "instances": [],
        }  # fmt: skip
        kind = hours.setdefault(hour_of(received), {}).setdefault((category, line), new)
        kind["tasks"] += 1
        kind["first"], kind["last"] = min(kind["first"], at), max(kind["last"], at)
        for place, places in ((zone, kind["zones"]), (instance, kind["instances"])):
            if place is not None and place not in places and len(places) < MOST_PLACES:
                places.append(place)
    return {
        hour: [
            {**kind, "first": kind["first"].isoformat(), "last": kind["last"].isoformat()}
            for kind in sorted(kinds.values(), key=lambda kind: -kind["tasks"])[:MOST_KINDS]
        ]
        for hour, kinds in hours.items()
    }


def _rejected(start: datetime, end: datetime) -> Any:
    """Return how many deliveries of each client were rejected in each hour: those kept, and the others."""
    rejected = RejectedDelivery.objects.filter(received_at__gte=start, received_at__lt=end)
    by_hour = rejected.annotate(hour=TruncHour("received_at", tzinfo=UTC)).order_by()
    groups = by_hour.values("hour", "source").annotate(kept=Count("pk"), others=Sum("not_kept"))
    return groups.values_list("hour", "source", "kept", "others")
