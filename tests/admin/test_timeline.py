"""A task's history: in event order, with what each event changed."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from tasks.admin.timeline import Entry, phases, runs, timeline
from tasks.conf import app_settings
from tasks.models import TaskStatusEvent
from tests.factories import NOON, minutes, record

pytestmark = pytest.mark.django_db


def entries() -> list[Entry]:
    return timeline(TaskStatusEvent.objects.for_timeline(), app_settings())


def at(number: float) -> str:
    return (NOON + minutes(number)).isoformat()


def test_event_order_whatever_the_order_of_arrival() -> None:
    record(NOON + minutes(9), timestamp=at(5), progress=50)
    record(NOON + minutes(9), timestamp=at(1), progress=10)
    record(NOON + minutes(9), timestamp=at(9), progress=90)

    assert [entry.event.progress for entry in entries()] == [10, 50, 90]
    assert [entry.is_late for entry in entries()] == [True, False, False]
    assert [entry.since for entry in entries()] == [None, minutes(4), minutes(4)]


def test_what_changed() -> None:
    record(NOON, timestamp=at(0), status="pending", progress=0)
    record(NOON, timestamp=at(1), status=None, progress=0, origin_zone="z")
    record(NOON, timestamp=at(2), status="running", progress=7.25, origin_zone="z", error_category=" ")

    assert [entry.changes for entry in entries()] == [
        [],
        ["origin zone: — → z"],
        ["status: pending → running", "progress: 0 % → 7.2 %", "error category: — → (blank)"],
    ]


def test_before_the_first_event_that_is_known_no_status_is() -> None:
    record(NOON, timestamp=at(0), status=None, progress=1)
    record(NOON, timestamp=at(1), status="running", progress=1)
    record(NOON, timestamp=at(2), status="failed", progress=1)
    told = timeline(TaskStatusEvent.objects.for_timeline(), app_settings(), is_from_start=False)

    assert [entry.changes for entry in told] == [[], [], ["status: running → failed"]]
    assert entries()[1].changes == ["status: — → running"]


@pytest.mark.parametrize(
    ("changes", "lengths"),
    [
        ({}, [1, 5]),
        ({"progress": 1}, [1, 5]),
        ({"status": "failed"}, [1, 3, 1, 1]),
        ({"status": None}, [1, 5]),
        ({"origin_zone": "z"}, [1, 3, 1, 1]),
        ({"error_message": ""}, [1, 3, 1, 1]),
        ({"timestamp": at(300)}, [1, 3, 1, 1]),
    ],
)
def test_runs_of_events_that_change_only_the_progress(changes: dict[str, Any], lengths: list[int]) -> None:
    for number in range(4):
        record(NOON + minutes(number), progress=number, timestamp=at(number))
    record(NOON + minutes(4), **{"progress": 4, "timestamp": at(4), **changes})
    record(NOON + minutes(5), progress=5, timestamp=at(5), status=changes.get("status") or "running")

    assert [len(group) for group in runs(entries())] == lengths


def test_two_events_are_no_run() -> None:
    for number in range(3):
        record(NOON + minutes(number), progress=number)

    assert [len(group) for group in runs(entries())] == [1, 1, 1]


def test_a_duplicate_is_seen() -> None:
    for number in (0, 1, 2, 2, 3, 4, 5):
        record(NOON + minutes(number), progress=number, timestamp=at(number))

    assert [len(group) for group in runs(entries())] == [1, 1, 1, 3]


def test_a_clock_that_is_ahead_is_marked() -> None:
    record(NOON, timestamp=at(60))
    (entry,) = entries()

    assert (entry.is_ahead, entry.at) == (True, NOON)


def test_phases_and_how_long_each_took() -> None:
    for minute, status in enumerate(["pending", "running", None, "running", "failed"]):
        record(NOON, timestamp=at(minute), status=status)

    assert [(phase.status, phase.length) for phase in phases(entries(), timezone.now())] == [
        ("pending", minutes(1)),
        ("running", minutes(3)),
        ("failed", None),
    ]


def test_a_phase_that_goes_on_lasts_until_now() -> None:
    record(NOON, timestamp=at(0), status="running")

    assert [phase.length for phase in phases(entries(), NOON + minutes(5))] == [minutes(5)]


def test_no_phase_without_a_status() -> None:
    record(NOON, status=None)

    assert phases(entries(), NOON) == []
