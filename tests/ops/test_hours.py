"""The hours of the overview: counted once, kept, and counted again as they age."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.db.models import QuerySet
from django.utils import timezone

from tasks.models import Overview
from tasks.ops import hours
from tasks.ops.hours import (
    HOUR,
    count_hours,
    counted_hours,
    hour_of,
    kind_key,
    summary,
)
from tests.factories import NOON, minutes, record, rejected

pytestmark = pytest.mark.django_db
ALL = timedelta(minutes=10)
NOTHING: dict[str, list[Any]] = {"ended": [], "lengths": [], "failures": [], "rejected": []}


def count_hour(hour: datetime) -> Any:
    return count_hours([hour])[hour]


def old_ledger() -> None:
    """Make the ledger older than the two weeks."""
    record(NOON - 20 * 24 * HOUR, task_id="oldest")


def failed(minute: float, task_id: str, message: str | None = "boom", **changes: Any) -> None:
    record(NOON + minutes(minute), task_id=task_id, status="failed", error_message=message, **changes)


def ended(counts: Any) -> set[Any]:
    return set(map(tuple, counts["ended"]))


def test_an_hour_holds_the_tasks_last_heard_of_in_it() -> None:
    record(NOON - minutes(0.001), task_id="before", status="done")
    record(NOON, task_id="first", status="done")
    record(NOON + minutes(59.999), task_id="last", status="done", task_type="other")
    record(NOON + HOUR, task_id="after", status="done")
    record(NOON, task_id="heard from again", status="failed")
    record(NOON + HOUR, task_id="heard from again", status="running")
    record(NOON, task_id="runs", status="running")
    failed(5, "broken")

    assert ended(count_hour(NOON)) == {
        ("training", "succeeded", 1),
        ("other", "succeeded", 1),
        ("training", "failed", 1),
    }
    assert count_hour(NOON - 5 * HOUR) == NOTHING


def test_tasks_that_are_read_are_counted_as_the_database_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, status in enumerate(("done", "failed", "done", "cancelled", "running")):
        record(NOON + minutes(number), task_id=f"a{number}", status=status)
    record(NOON + HOUR, task_id="b", status="done", task_type="other")
    read = count_hours([NOON, NOON + HOUR])
    monkeypatch.setattr(hours, "MOST_READ", 1)
    grouped = count_hours([NOON, NOON + HOUR])

    assert [ended(read[hour]) for hour in read] == [ended(grouped[hour]) for hour in grouped]
    assert ended(read[NOON + HOUR]) == {("other", "succeeded", 1)}
    assert len(ended(read[NOON])) == 3


def test_a_length_in_the_wrong_order_is_none() -> None:
    for minute, status in ((0, "failed"), (5, "running"), (6, "failed")):
        record(NOON + minutes(minute), status=status)

    counts = count_hour(NOON)
    assert ended(counts) == {("training", "failed", 1)}
    assert counts["lengths"] == []


def test_failures_are_one_kind_if_category_and_headline_are_alike() -> None:
    trace = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
    failed(1, "1", f"{trace}Error: 2.50 GiB", error_category="memory", origin_zone="a", origin_instance="x")
    failed(3, "2", f"{trace}Error: 11.25 GiB", error_category="memory", origin_zone="b", origin_instance="x")
    failed(2, "3", "Error: 1.00 GiB")
    failed(4, "4", None)

    told = count_hour(NOON)["failures"]
    assert told[0] == {
        "category": "memory",
        "line": "Error: # GiB",
        "tasks": 2,
        "first": (NOON + minutes(1)).isoformat(),
        "last": (NOON + minutes(3)).isoformat(),
        "zones": ["b", "a"],
        "instances": ["x"],
    }
    assert {(kind["category"], kind["line"]) for kind in told[1:]} == {(None, "Error: # GiB"), (None, "")}


def test_an_hour_is_read_and_kept_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hours, "MOST_READ", 3)
    monkeypatch.setattr(hours, "MOST_KINDS", 2)
    monkeypatch.setattr(hours, "MOST_PLACES", 1)
    for number, message in enumerate("abccc"):
        failed(number, f"task-{number}", message, origin_zone=f"zone-{number}")
    counts = count_hour(NOON)

    assert ended(counts) == {("training", "failed", 5)}
    assert [(kind["line"], kind["tasks"], kind["zones"]) for kind in counts["failures"]] == [
        ("c", 3, ["zone-4"])
    ]
    monkeypatch.setattr(hours, "MOST_READ", 5)
    assert [kind["line"] for kind in count_hour(NOON)["failures"]] == ["c", "b"]


def test_an_hour_is_kept_once_its_deliveries_have_settled() -> None:
    """Until then each reader counts it: a delivery of it may not be committed yet."""
    failed(5, "a")
    for minute, kept in ((69, False), (70, True)):
        counted_hours(NOON + minutes(minute), budget=ALL)
        assert Overview.objects.filter(hour=NOON).exists() is kept


def test_rejected_deliveries_by_client() -> None:
    rejected(received_at=NOON)
    rejected(received_at=NOON + minutes(59), not_kept=7)
    rejected(received_at=NOON + HOUR)

    assert [tuple(one) for one in count_hour(NOON)["rejected"]] == [("tests", 2, 7)]


def test_two_weeks_are_added_up_from_a_summary_of_each_hour() -> None:
    record(NOON, task_id="done", status="done")
    record(NOON, task_id="of another type", status="done", task_type="other")
    record(NOON, task_id="cancelled", status="cancelled")
    failed(3, "broken")
    failed(2, "first", error_category="memory", message="took 1.5 GiB")
    failed(4, "again", error_category="memory", message="took 2.5 GiB")
    rejected(received_at=NOON, not_kept=7)
    rejected(received_at=NOON, source="other")
    told = summary(count_hour(NOON))

    assert sorted(told["sources"]) == ["other", "tests"]
    assert {**told, "sources": None} == {
        "succeeded": 2, "failed": 3, "cancelled": 1, "rejected": 2, "others": 7, "sources": None,
        "kinds": {
            kind_key(None, "boom"): (NOON + minutes(3)).isoformat(),
            kind_key("memory", "took # GiB"): (NOON + minutes(2)).isoformat(),
        },
    }  # fmt: skip
    assert kind_key(None, "boom") != kind_key("", "boom")


def test_each_hour_is_counted_once_and_kept() -> None:
    old_ledger()
    failed(1, "old")
    now = NOON + 3 * HOUR + minutes(30)
    first = counted_hours(now, budget=ALL)

    assert first.missing == 0
    assert ended(first.details[NOON]) == {("training", "failed", 1)}
    assert len(first.hours) == hours.HOURS
    # The hour that has just begun is not over.
    assert Overview.objects.count() == hours.HOURS - 1
    again = counted_hours(now, budget=ALL)
    assert again.hours == first.hours
    assert again.details == {hour: first.details[hour] for hour in again.details}
    assert sorted(again.details) == [NOON + HOUR * number for number in range(-21, 4)]
    assert [len(first.within(NOON, NOON + number * HOUR)) for number in (0, 1, 2)] == [0, 1, 2]


def test_without_time_the_newest_day_comes_first() -> None:
    old_ledger()
    told = [counted_hours(NOON + minutes(30), budget=timedelta()).missing for _ in range(2)]

    # Twelve hours of today are over, and all of yesterday.
    assert told == [hours.HOURS - 1 - 12, hours.HOURS - 1 - 12 - 24]
    assert Overview.objects.earliest("hour").hour == NOON - 36 * HOUR


def test_tasks_between_hours_are_not_theirs() -> None:
    failed(61, "between")
    failed(121, "after")

    assert list(map(ended, count_hours([NOON + 2 * HOUR, NOON]).values())) == [
        {("training", "failed", 1)},
        set(),
    ]


def test_until_no_delivery_of_it_can_be_on_its_way_an_hour_is_counted_each_time() -> None:
    now = NOON + HOUR + minutes(9)
    counted_hours(now, budget=ALL)
    failed(59, "late")

    assert ended(counted_hours(now, budget=ALL).details[NOON]) == {("training", "failed", 1)}


@pytest.mark.parametrize("first", [failed, lambda minute, _: rejected(received_at=NOON + minutes(minute))])
def test_a_new_ledger_is_counted_from_its_first_hour(first: Any) -> None:
    assert counted_hours(NOON + 5 * HOUR, budget=ALL).missing == 0
    assert not Overview.objects.exists()
    first(30, "first")
    assert counted_hours(NOON + 5 * HOUR, budget=ALL).missing == 0
    assert Overview.objects.earliest("hour").hour == NOON


def test_an_hour_that_has_aged_by_a_quarter_is_counted_again() -> None:
    old_ledger()
    counted_hours(NOON + 4 * HOUR, budget=ALL)
    failed(1, "tried again")

    assert counted_hours(NOON + 5 * HOUR, budget=ALL).details[NOON] == NOTHING
    again = counted_hours(NOON + 5 * HOUR + minutes(1), budget=ALL)
    assert ended(again.details[NOON]) == {("training", "failed", 1)}
    assert ended(Overview.objects.get(hour=NOON).details) == {("training", "failed", 1)}


def test_what_is_kept_is_parsed_once_and_again_when_it_changes() -> None:
    old_ledger()
    failed(1, "a")
    now = NOON + 4 * HOUR
    counted_hours(now, budget=ALL)
    first, second = (counted_hours(now, budget=ALL) for _ in range(2))

    assert first.hours[NOON] is second.hours[NOON]
    assert first.details[NOON] is second.details[NOON]
    Overview.objects.filter(hour=NOON).update(counts={"failed": 2}, details=NOTHING)
    changed = counted_hours(now, budget=ALL)
    assert (changed.hours[NOON], changed.details[NOON]) == ({"failed": 2}, NOTHING)


def test_a_row_is_named_by_its_hour() -> None:
    assert str(Overview(hour=NOON)) == "2026-05-01 12:00:00+00:00"


def test_old_hours_are_deleted() -> None:
    old_ledger()
    counted_hours(NOON, budget=ALL)
    counted_hours(NOON + 30 * 24 * HOUR, budget=ALL)

    assert Overview.objects.order_by("hour").first().hour > NOON + 15 * 24 * HOUR


def test_a_database_that_cannot_be_written_to_shows_the_counts_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(QuerySet, "bulk_create", refuse)
    failed(1, "old")

    assert ended(counted_hours(NOON + 3 * HOUR, budget=ALL).details[NOON]) == {("training", "failed", 1)}
    assert not Overview.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_readers_that_count_the_same_hours_at_once() -> None:
    now = timezone.now()
    record(now - 2 * HOUR, status="failed")

    def read(_: int) -> Any:
        try:
            return counted_hours(now, budget=ALL)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(read, range(4)))
    assert [one.missing for one in told] == [0] * 4
    assert all(ended(one.details[hour_of(now - 2 * HOUR)]) for one in told)
    assert Overview.objects.count() in (1, 2)
