"""``manage.py silence_report``."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tasks.management.commands.silence_report import in_words
from tasks.watchdog.gaps import gaps
from tests.factories import minutes, record

pytestmark = pytest.mark.django_db
NOW = timezone.now().replace(microsecond=0)


def report(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("silence_report", *arguments, stdout=out)
    return out.getvalue().splitlines()


def story(task_id: str, *ago: float, status: str = "running", **changes: Any) -> None:
    """Record events that were received that many minutes ago."""
    for number, one in enumerate(ago):
        record(NOW - minutes(one), task_id=task_id, status=status, progress=number / 100, **changes)


def test_the_gaps_of_each_type() -> None:
    story("a", *range(1000, -1, -1))
    story("b", 300, 290, 200)
    story("c", 60, 0, task_type="upscaling", status="In-Progress")
    training, upscaling = gaps(since=NOW - timedelta(days=1), limits=[minutes(5), minutes(60)])

    assert (training.task_type, training.tasks, training.number) == ("training", 2, 1002)
    assert [round(length.total_seconds()) for length in training.lengths] == [60, 60, 600, 5400]
    assert training.tasks_beyond == (1, 1)
    assert (upscaling.task_type, upscaling.tasks_beyond) == ("upscaling", (1, 0))


def test_gaps_that_do_not_count() -> None:
    story("queued", 100, 50, status="queued")
    story("ended", 100, status="completed")
    story("ended", 50, status="completed", event_type="again")
    story("alone", 100)
    story("old", 60 * 24 * 9, 60 * 24 * 8)

    assert report() == ["No running task sent two events in that time."]


def test_the_table(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"SILENT_AFTER": {"training": minutes(20), "*": None}}
    story("a", 30, 20, 0)
    story("b", 60 * 25, 10, task_type="up\nscaling")
    header, training, upscaling = report()

    assert header.split("  ")[0] == "task type"
    assert header.endswith("> 5 min  > 15 min  > 20 min  > 30 min  > 1 h  > 6 h  > 1 d")
    cells = "training 1 2 10 min 20 min 20 min 20 min 20 min 1 1 0 0 0 0 0"
    assert " ".join(training.split()) == cells
    assert upscaling.startswith(r"'up\nscaling'")
    assert upscaling.split()[-8:] == ["-", "1", "1", "1", "1", "1", "1", "1"]


def test_how_far_back() -> None:
    story("a", 60 * 30, 60 * 29)

    assert len(report("--since", "2d")) == 2
    assert len(report("--since", "24h")) == 1
    with pytest.raises(CommandError):
        report("--since", "yesterday")


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (None, "-"),
        (timedelta(milliseconds=1500), "1.5 s"),
        (timedelta(seconds=90), "1.5 min"),
        (timedelta(minutes=90), "1.5 h"),
        (timedelta(hours=36), "1.5 d"),
    ],
)
def test_lengths(length: timedelta | None, words: str) -> None:
    assert in_words(length) == words
