"""The reactions that are stored with an event."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import HttpResponse

from tasks.exceptions import IdempotencyConflict
from tasks.handlers import on_change, on_event
from tasks.ledger.rebuilding import rebuild_task
from tasks.lifecycle import TERMINAL, Meaning
from tasks.models import Reaction, Task, TaskStatusEvent
from tests.factories import NOON, body, minutes, record, statements_of_event

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_layout")]


def nothing(change: Any) -> None:
    pass


def rows(**filters: Any) -> list[tuple[Any, ...]]:
    return list(
        Reaction.objects.filter(**filters)
        .order_by("task_id", "seq", "handler")
        .values_list("handler", "seq", "previous", "status")
    )


def test_if_no_handler_asks_the_statements_are_those_of_before() -> None:
    before = statements_of_event(task_id="a", status="running")
    on_change(to=Meaning.FAILED)(nothing)
    on_event(event_type="checkpoint_saved", name="checkpoint")(nothing)

    assert before
    assert statements_of_event(task_id="a", status="running", progress=6) == before
    assert not any("reaction" in statement or "previous_meaning" in statement for statement in before)
    assert rows() == []


def test_one_reaction_for_each_handler_and_change() -> None:
    on_change(to=TERMINAL, name="ended")(nothing)
    on_change(name="any")(nothing)
    on_change(to="failed", task_type="upscaling", name="of-another-type")(nothing)

    for number, status in enumerate(["pending", "running", "Working", "failed", "error", "running", "done"]):
        record(timestamp=(NOON + minutes(number)).isoformat(), status=status, progress=number)

    assert rows(handler="ended") == [("ended", 4, "Working", "failed"), ("ended", 7, "running", "done")]
    assert [row[1:] for row in rows(handler="any")] == [
        (1, None, "pending"),
        (2, "pending", "running"),
        (4, "Working", "failed"),
        (6, "error", "running"),
        (7, "running", "done"),
    ]
    assert rows(handler="of-another-type") == []
    of_seq_4 = Reaction.objects.get(handler="ended", seq=4)
    event = TaskStatusEvent.objects.get(status="failed")
    assert (of_seq_4.event_id, of_seq_4.kind, of_seq_4.state) == (event.pk, "change", "pending")
    assert (of_seq_4.attempts, of_seq_4.excused, of_seq_4.replays, of_seq_4.error) == (0, 0, 0, None)


def test_every_event_of_a_type_late_ones_too() -> None:
    on_event(event_type="checkpoint_saved", name="keep")(nothing)
    record(event_type="checkpoint_saved", timestamp="2026-05-01T12:00:00Z", progress=2)
    record(event_type="other", timestamp="2026-05-01T12:01:00Z")
    record(event_type="checkpoint_saved", timestamp="2026-05-01T11:00:00Z", progress=1, status=None)

    assert rows() == [("keep", 1, None, "running"), ("keep", 3, "running", "running")]


def test_duplicates_conflicts_and_late_losers_make_none() -> None:
    on_change(name="any")(nothing)
    record(status="failed", timestamp="2026-05-01T12:00:00Z", key=b"1")
    record(status="failed", timestamp="2026-05-01T12:00:00Z", key=b"1")
    with pytest.raises(IdempotencyConflict), transaction.atomic():
        record(status="completed", timestamp="2026-05-01T12:00:00Z", key=b"1")
    record(status="running", timestamp="2026-05-01T11:00:00Z", key=b"2")
    record(status="error", timestamp="2026-05-01T12:02:00Z", key=b"3")

    assert rows() == [("any", 1, None, "failed")]


@pytest.mark.django_db(transaction=True)
def test_event_and_reaction_are_both_there_or_neither() -> None:
    on_change(name="any")(nothing)

    with transaction.atomic():
        record()
        transaction.set_rollback(True)

    assert not Reaction.objects.exists()
    assert not TaskStatusEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_stored", [True, False])
def test_with_atomic_requests_they_are_both_there_or_neither(
    is_stored: bool, post: Callable[..., HttpResponse], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_change(name="any")(nothing)
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    if not is_stored:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {Reaction._meta.db_table} RENAME TO away")
    try:
        assert post(body()).status_code == (200 if is_stored else 503)
    finally:
        if not is_stored:
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER TABLE away RENAME TO {Reaction._meta.db_table}")

    assert Reaction.objects.count() == TaskStatusEvent.objects.count() == int(is_stored)


def test_rebuilding_a_task_makes_none() -> None:
    on_change(name="any")(nothing)
    record(status="failed")
    Reaction.objects.all().delete()
    Task.objects.update(status="running", meaning="running", status_order=b"")

    assert rebuild_task("task-1")
    assert rows() == []


def test_a_row_that_is_there_already_fails_no_delivery() -> None:
    on_change(name="any")(nothing)
    record(status="running")
    Task.objects.update(event_count=0)

    assert record(status="failed", timestamp="2030-01-01T00:00:00Z").status_changed


@pytest.mark.django_db(transaction=True)
def test_32_writers_in_random_order_with_retries() -> None:
    """The reactions are the changes of meaning that the events make in the order of their commits."""
    on_change(name="any")(nothing)
    on_event(name="every")(nothing)
    random = Random(15)
    statuses = ["pending", "running", "completed", "done", "failed", "cancelled", "unheard-of", None]
    sent = [
        {
            "task_id": f"task-{number % 5}",
            "status": random.choice(statuses),
            "progress": number % 100,
            "timestamp": (NOON + timedelta(seconds=random.randrange(100))).isoformat(),
            "key": str(number).encode(),
        }
        for number in range(160)
    ]
    deliveries = [*sent, *random.sample(sent, 60)]
    random.shuffle(deliveries)

    def send(one: dict[str, Any]) -> None:
        try:
            record(**one)
        finally:
            connection.close()

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(send, deliveries))

    for task in Task.objects.all():
        chain = list(
            Reaction.objects.filter(task=task, handler="every")
            .order_by("seq")
            .values_list("seq", "previous", "status", "event_id")
        )
        assert [row[0] for row in chain] == list(range(1, task.event_count + 1))
        assert [row[1] for row in chain[1:]] == [row[2] for row in chain[:-1]], "an exact chain"
        assert len({row[3] for row in chain}) == task.event_count
        assert changes_in(chain) == [row[1:] for row in rows(handler="any", task=task)]


def changes_in(chain: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the changes of meaning in a chain of events, of those whose status stood."""
    from tasks.conf import app_settings
    from tasks.lifecycle import meaning_of

    meanings = [None, *(meaning_of(row[2], app_settings()) for row in chain)]
    statuses = dict(TaskStatusEvent.objects.values_list("pk", "status"))
    return [
        row[:3]
        for row, before, after in zip(chain, meanings, meanings[1:], strict=False)
        if before != after and statuses[row[3]] is not None
    ]
