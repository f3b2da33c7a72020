"""Marks against events that come at the same moment: none is ever left on a task that has ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from time import perf_counter
from typing import Any

import pytest
from django.db import connection, connections

from tasks.handlers import on_found, on_lost
from tasks.handlers.registry import declaring
from tasks.ledger.silence import claim, mark_lost, notice, unnoticed
from tasks.models import Reaction, Silence, Task
from tests.factories import NOON, minutes, record

#: So many races; 10,000 with the environment variable, which takes some minutes.
RACES = int(os.environ.get("LOST_RACES", "40"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("finding", [False, True], ids=["no handler", "handlers of both"])
def test_a_success_is_never_followed_by_lost(finding: bool) -> None:
    together, random = Barrier(2, timeout=60), Random(16)
    pauses = [random.uniform(0, 0.002) for _ in range(RACES)]

    def judge(number: int) -> bool:
        judged = Task.objects.get(pk=f"task-{number}")
        together.wait()
        return mark_lost(judged)

    def close() -> None:
        together.wait()  # so that each thread closes its own
        connections.close_all()

    def end(number: int) -> None:
        together.wait()
        spin(pauses[number] if number % 2 else 0)
        record(NOON + minutes(20), task_id=f"task-{number}", status="completed")

    with declaring(), ThreadPoolExecutor(2) as pool:
        if finding:
            on_lost(name="lost")(lambda change: None)
            on_found(name="found")(lambda change: None)
        marked = 0
        for number in range(RACES):
            record(NOON, task_id=f"task-{number}")
            judging, ending = pool.submit(judge, number), pool.submit(end, number)
            ending.result()
            marked += judging.result()
        for closing in [pool.submit(close) for _ in range(2)]:
            closing.result()

    assert not Task.objects.lost().exists()
    assert {task.has_succeeded and not task.is_lost for task in Task.objects.all()} == {True}
    told = [Reaction.objects.filter(kind=kind).count() for kind in ("lost", "found")]
    assert told == ([marked, marked] if finding else [0, 0]), "each mark is told, and each end of one"


def spin(seconds: float) -> None:
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass


@pytest.mark.django_db(transaction=True)
def test_each_silence_is_claimed_by_one_of_several_watchdogs() -> None:
    for number in range(30):
        record(NOON, task_id=f"task-{number}")
    now = NOON + minutes(20)
    together = Barrier(4, timeout=60)

    def watch() -> list[str]:
        together.wait()
        notice(now)
        claimed = [one.pk for one in claim(now, lease=minutes(5))]
        connections.close_all()
        return claimed

    with ThreadPoolExecutor(4) as pool:
        claimed = [pk for found in [pool.submit(watch) for _ in range(4)] for pk in found.result()]

    left = [one.pk for one in claim(now, lease=minutes(5))]
    assert sorted(claimed + left) == sorted(f"task-{number}" for number in range(30))
    assert Silence.objects.count() == 30


@pytest.mark.django_db
@pytest.mark.parametrize(
    "limits", [None, {"training": minutes(15), "*": minutes(30)}], ids=["one limit", "by task type"]
)
def test_the_silent_are_found_by_the_index_among_many_that_run(settings: object, limits: object) -> None:
    settings.SARTIQ_TASKS = {} if limits is None else {"SILENT_AFTER": limits}  # type: ignore[attr-defined]
    many_that_run(silent=50)
    analyze()
    now = NOON + minutes(60)

    plan = unnoticed(now).values_list("pk", "event_count")[:1000].explain()

    assert "sartiq_task_meaning" in plan
    assert "Seq Scan on sartiq_tasks_task" not in plan
    assert "SCAN sartiq_tasks_task" not in plan
    assert notice(now) == 51


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("found", "index"),
    [
        (Task.objects.said_to_have_ended, "sartiq_silence_says_ended"),
        (Task.objects.held_back, "sartiq_silence_judged"),
    ],
    ids=["said to have ended", "held back"],
)
def test_few_of_many_silent_tasks_are_found_by_an_index(found: Callable[[], Any], index: str) -> None:
    many_that_run(silent=3000)
    now = NOON + minutes(60)
    while notice(now):
        pass
    Silence.objects.filter(pk="t-7").update(says_ended=True, judged_at=now)
    analyze()

    assert [one.pk for one in found()] == ["t-7"]
    plan = found().explain()
    assert index in plan
    assert "Seq Scan" not in plan


def many_that_run(*, silent: int) -> None:
    """Store 3,001 tasks that run; the first ones, and one more, are silent an hour after noon."""
    record(NOON)
    model = Task.objects.get()
    values = {field.attname: getattr(model, field.attname) for field in Task._meta.concrete_fields}
    rows = []
    for number in range(3000):
        heard = NOON if number < silent else NOON + minutes(59)
        rows.append(Task(**{**values, "task_id": f"t-{number}", "last_received_at": heard}))
    Task.objects.bulk_create(rows, batch_size=500)


def analyze() -> None:
    with connection.cursor() as cursor:
        for table in (Task._meta.db_table, Silence._meta.db_table):
            cursor.execute(f"ANALYZE {table}")
