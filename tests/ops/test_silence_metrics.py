"""The metrics of silent and lost tasks."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError
from django.utils import timezone

from tasks.ledger.silence import mark_lost, notice
from tasks.models import Silence, Task
from tasks.ops import metrics, silence_metrics
from tasks.querysets import TaskQuerySet
from tasks.watchdog import Alive
from tests.factories import NOON, minutes, record
from tests.ops.test_metrics import samples
from tests.servers import free_port

pytestmark = pytest.mark.django_db


def scraped() -> dict[str, float]:
    found = samples(metrics.exposition()[0].decode())
    ours = ("sartiq_tasks_silent", "sartiq_tasks_lost", "sartiq_tasks_held_back")
    return {
        name.removeprefix("sartiq_tasks_"): value for name, value in found.items() if name.startswith(ours)
    }


def test_silent_and_lost_by_type_and_what_is_held_back(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"LOST_AFTER": minutes(60)}
    record(NOON, task_id="a")
    record(NOON, task_id="b")
    record(NOON, task_id="c", task_type="upscaling")
    record(task_id="heard")
    mark_lost(Task.objects.get(pk="c"))
    notice(timezone.now())
    Silence.objects.filter(pk="a").update(judged_at=timezone.now() - minutes(2))
    Silence.objects.filter(pk="b").update(judged_at=timezone.now())

    assert scraped() == {
        "silent training": 2,
        "silent upscaling": 1,
        "lost upscaling": 1,
        "held_back": 1,
    }


def test_nothing_is_asked_unless_something_is_looked_after(
    settings: Any, django_assert_num_queries: Any
) -> None:
    record(NOON)
    settings.SARTIQ_TASKS = {}
    with django_assert_num_queries(1):
        assert scraped() == {}


@pytest.mark.parametrize("asked", ["silent", "lost", "held_back"])
def test_a_database_that_is_away(asked: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record(NOON)
    settings.SARTIQ_TASKS = {"LOST_AFTER": minutes(60)}

    def away(*args: Any, **options: Any) -> None:
        raise DatabaseError

    notice(timezone.now())
    assert scraped() == {"silent training": 1, "held_back": 0}
    monkeypatch.setattr(TaskQuerySet, asked, away)
    assert scraped() == {}


@pytest.mark.django_db(transaction=True)
def test_a_watchdog_serves_what_it_was_answered(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog counts before the command ends; the last scrape reads the process's own registry."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    record(timezone.now() - minutes(20))
    seen: list[str] = []
    port = free_port()

    def ask(tasks: Any) -> list[Alive]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
            seen.append(response.read().decode())
        return [Alive(task.pk) for task in tasks]

    settings.SARTIQ_TASKS = {"PROBE": ask}
    name = "sartiq_tasks_probes_total alive"
    before = samples(metrics.exposition()[0].decode()).get(name, 0)
    call_command("run_handlers", "--once", "--metrics", f"127.0.0.1:{port}")

    assert "# TYPE sartiq_tasks_probes_total counter" in seen[0]
    assert samples(metrics.exposition()[0].decode())[name] == before + 1
    silence_metrics.count({"alive": 2})
    assert samples(metrics.exposition()[0].decode())[name] == before + 3
