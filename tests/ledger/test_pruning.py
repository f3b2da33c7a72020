"""Pruning: old events go, and the state of their tasks stays."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.signals import pre_delete

from tasks.ledger.pruning import ended_tasks, old_events, prune_events, prune_rejections, prune_tasks
from tasks.ledger.rebuilding import rebuild_task
from tasks.models import RejectedDelivery, Silence, Task, TaskStatusEvent
from tests.factories import NOON, minutes, record, rejected

pytestmark = pytest.mark.django_db


def story(task_id: str, *, at: float, status: str = "completed") -> None:
    """Record three events of a task, from minute ``at`` on."""
    for step, one in enumerate(("pending", "running", status)):
        record(
            task_id=task_id,
            received_at=NOON + minutes(at + step),
            timestamp=(NOON + minutes(at + step)).isoformat(),
            status=one,
            progress=step,
            entity_id="entity" if step == 0 else None,
        )


def rows() -> dict[str, Any]:
    return {row["task_id"]: row for row in Task.objects.order_by("pk").values()}


def test_only_old_events_go() -> None:
    story("old", at=0)
    story("both", at=8)
    story("new", at=60)

    deleted = list(prune_events(before=NOON + minutes(10)))

    assert sum(deleted) == 5
    assert dict(TaskStatusEvent.objects.values_list("task_id", "progress")) == {"both": 2, "new": 2}
    assert TaskStatusEvent.objects.filter(received_at__lt=NOON + minutes(10)).count() == 0
    assert list(prune_events(before=NOON + minutes(10))) == []


def test_tasks_keep_what_is_known_of_them() -> None:
    story("old", at=0)
    before = rows()["old"]

    list(prune_events(before=NOON + minutes(60)))

    after = rows()["old"]
    assert after.pop("pruned_at") is not None
    assert after == {key: value for key, value in before.items() if key != "pruned_at"}


@pytest.mark.parametrize("batch", [1, 2, 7, 1000])
def test_in_batches(batch: int) -> None:
    for number in range(10):
        story(f"task-{number}", at=number * number)

    deleted = list(prune_events(before=NOON + minutes(1000), batch=batch))

    assert sum(deleted) == 30
    assert max(deleted) <= batch


def test_a_run_that_was_stopped_halfway_goes_on() -> None:
    for number in range(10):
        story(f"task-{number}", at=number)
    steps: Any = prune_events(before=NOON + minutes(1000), batch=4)
    first = next(steps)
    steps.close()

    assert first + sum(prune_events(before=NOON + minutes(1000), batch=4)) == 30


def test_rebuild_does_not_undo_what_was_pruned() -> None:
    story("both", at=8)
    before = rows()["both"]

    list(prune_events(before=NOON + minutes(9.5)))

    assert rebuild_task("both") == {}
    assert rows()["both"] | {"pruned_at": None} == before
    Task.objects.update(last_order=b"", progress=50)
    assert rebuild_task("both")["progress"] == (50, 2)
    assert rows()["both"]["entity_id"] == "entity", "known from a pruned event alone"


def test_an_event_after_pruning_moves_the_task_on() -> None:
    story("old", at=0, status="running")
    list(prune_events(before=NOON + minutes(60)))

    record(
        task_id="old", received_at=NOON + minutes(90), timestamp="2026-05-01T13:30:00Z", status="completed"
    )

    task = Task.objects.get()
    assert (task.status, task.entity_id, task.event_count) == ("completed", "entity", 4)
    assert rebuild_task("old") == {}


def test_a_task_keeps_the_time_when_it_was_first_pruned() -> None:
    story("both", at=8)
    list(prune_events(before=NOON + minutes(9)))
    first = rows()["both"]["pruned_at"]

    assert sum(prune_events(before=NOON + minutes(60))) == 2
    assert rows()["both"]["pruned_at"] == first


def test_ended_tasks_without_events_can_go_too() -> None:
    story("old", at=0)
    story("still running", at=0, status="running")
    story("both", at=58)
    story("new", at=60)
    before = NOON + minutes(59.5)
    list(prune_events(before=before))

    assert list(ended_tasks(before).values_list("pk", flat=True)) == ["old"]
    assert sum(prune_tasks(before=before, batch=1)) == 1
    assert set(rows()) == {"still running", "both", "new"}


def test_a_task_that_is_heard_from_meanwhile_stays_and_the_others_go(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        story(name, at=0)
    before = NOON + minutes(60)
    list(prune_events(before=before))
    for name in ("a", "b", "c"):
        Silence.objects.create(task_id=name, event_count=3, noticed_at=NOON, deliveries=3)
    asked: list[datetime] = []

    def found(before: datetime) -> Any:
        asked.append(before)
        if len(asked) == 2:  # the first of them was read, and is to be deleted
            record(task_id="a", received_at=NOON + minutes(61))
        return ended_tasks(before)

    monkeypatch.setattr("tasks.ledger.pruning.ended_tasks", found)

    assert sum(prune_tasks(before=before, batch=1)) == 2
    assert set(rows()) == {"a"}
    assert list(Silence.objects.values_list("task_id", flat=True)) == ["a"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("received_at", [NOON + minutes(61), NOON + minutes(1)], ids=["now", "long ago"])
def test_a_task_is_kept_or_made_again_if_an_event_comes_while_a_host_is_told(received_at: datetime) -> None:
    """A receiver of ``pre_delete``, such as an audit log's, makes Django read the rows before it deletes."""

    def write() -> None:
        try:
            record(task_id="old", key=b"another", received_at=received_at)
        finally:
            connection.close()

    def receive(**kwargs: Any) -> None:
        writer.start()
        writer.join(1)  # on SQLite, and if the task is locked, it waits for this transaction

    story("old", at=0)
    list(prune_events(before=NOON + minutes(60)))
    writer = threading.Thread(target=write)
    pre_delete.connect(receive, sender=Task)
    try:
        list(prune_tasks(before=NOON + minutes(60)))
    finally:
        pre_delete.disconnect(receive, sender=Task)
        writer.join()

    assert TaskStatusEvent.objects.count() == 1
    assert set(rows()) == {"old"}


def test_events_of_the_same_moment_go_one_by_one() -> None:
    for number in range(3):
        record(received_at=NOON, progress=number)

    assert list(prune_events(before=NOON + timedelta.resolution, batch=1)) == [1, 1, 1]


def test_old_events_are_told_by_their_time_of_receipt() -> None:
    record(task_id="a", received_at=NOON, timestamp="1999-01-01T00:00:00Z")

    assert old_events(NOON).count() == 0
    assert old_events(NOON + minutes(1)).count() == 1


def test_rejected_deliveries_go_by_their_own_age() -> None:
    for age in (0, 1, 2):
        rejected(received_at=NOON + minutes(age))

    assert list(prune_rejections(before=NOON + timedelta(minutes=2), batch=1)) == [1, 1]
    assert RejectedDelivery.objects.get().received_at == NOON + minutes(2)


@pytest.mark.django_db(transaction=True)
def test_while_8_writers_post() -> None:
    for number in range(40):
        story(f"old-{number}", at=0)
    stop = threading.Event()

    def write(name: int) -> int:
        written = 0
        try:
            while not stop.is_set():
                # Of tasks that are being pruned, and of new ones.
                record(task_id=f"old-{written % 40}", key=f"{name}-{written}".encode(), status="running")
                record(task_id=f"new-{name}-{written}")
                written += 1
        finally:
            connection.close()
        return written

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, name) for name in range(8)]
        deleted = sum(prune_events(before=NOON + minutes(60), batch=5))
        stop.set()
        written = sum(writer.result() for writer in writers)

    assert deleted == 120
    assert TaskStatusEvent.objects.count() == 2 * written > 0
    assert sum(Task.objects.values_list("event_count", flat=True)) == 120 + 2 * written
    assert [rebuild_task(task_id) for task_id in rows()] == [{}] * len(rows())
