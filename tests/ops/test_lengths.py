"""How long tasks waited and ran."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tasks.ops.hours import count_hours
from tasks.ops.lengths import length_at, merged_lengths
from tests.factories import NOON, minutes, record

pytestmark = pytest.mark.django_db


def test_lengths_are_within_five_per_cent() -> None:
    for number, (waited, ran) in enumerate([(1, 60), (2, 120), (3, 600)]):
        begin = NOON + minutes(number)
        for status, at in (
            ("queued", begin),
            ("running", begin + timedelta(seconds=waited)),
            ("done", begin + timedelta(seconds=waited + ran)),
        ):
            record(at, task_id=f"task-{number}", status=status, timestamp=at.isoformat())
    record(NOON, task_id="no times of its own", status="done")
    hour = count_hours([NOON])[NOON]
    merged = merged_lengths([hour, {"lengths": []}, hour])

    assert set(merged) == {("training", "waited"), ("training", "ran")}
    assert sum(merged["training", "ran"].values()) == 6
    for name, share, seconds in (
        ("waited", 0.5, 2), ("waited", 0.95, 3), ("ran", 0.01, 60), ("ran", 0.5, 120), ("ran", 0.95, 600),
    ):  # fmt: skip
        told = length_at(merged["training", name], share).total_seconds()
        assert told == pytest.approx(seconds, rel=0.05)
