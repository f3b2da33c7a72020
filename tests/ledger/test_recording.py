"""The ledger and the state as the database keeps them, on whichever database the suite runs."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any
from unittest.mock import ANY

import pytest
from django.db import connection, transaction

from tasks.exceptions import IdempotencyConflict, Unconfirmed
from tasks.ledger import rebuilding
from tasks.ledger.rebuilding import rebuild_task
from tasks.ledger.recording import MAX_KEY_BYTES, Recorded, record_event
from tasks.models import Task, TaskStatusEvent
from tasks.serializers import task_status_event
from tasks.signals import event_recorded
from tasks.wire.canonical import canonical_json, payload_digest
from tests.factories import NOON, body, full_body, minutes, record

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_layout")]


@pytest.fixture
def announced() -> Iterator[list[dict[str, Any]]]:
    """Collect what ``event_recorded`` says."""
    seen: list[dict[str, Any]] = []

    def receive(**said: Any) -> None:
        seen.append(said)

    event_recorded.connect(receive)
    yield seen
    event_recorded.disconnect(receive)


def test_every_field_of_the_schema_is_in_a_column_of_its_own() -> None:
    sent = full_body()

    recorded = record_event(
        event=task_status_event.run_validation(sent),
        digest=payload_digest(sent),
        source="cluster-1",
        received_at=NOON,
    )

    event = TaskStatusEvent.objects.get()
    assert recorded == Recorded(event.pk, "task-1", duplicate=False, status_changed=True)
    stored = {field.attname: getattr(event, field.attname) for field in TaskStatusEvent._meta.concrete_fields}
    assert stored == {
        **{name: value for name, value in sent.items() if name != "gpu"},
        "unknown_fields": {"gpu": "A100"},
        "id": ANY,
        "timestamp": NOON + minutes(0.5 / 60),
        "completed_at": NOON,
        "started_at": NOON - minutes(60),
        "received_at": NOON,
        "source": "cluster-1",
        "deliveries": 1,
        "idempotency_key": payload_digest(sent),
        "payload_digest": payload_digest(sent),
    }


TRUE, FALSE = ("%s = 1", [1]), ("%s = 1", [2])


@pytest.mark.parametrize(("conditions", "stored"), [([], True), ([TRUE, TRUE], True), ([TRUE, FALSE], False)])
@pytest.mark.parametrize("known", [True, False], ids=["duplicate", "new event"])
def test_an_event_is_stored_if_every_condition_holds(conditions: Any, stored: bool, known: bool) -> None:
    if known:
        record()

    if stored:
        assert record(confirming=conditions).duplicate is known
    else:
        with pytest.raises(Unconfirmed):
            record(confirming=conditions)
    deliveries = list(TaskStatusEvent.objects.values_list("deliveries", flat=True))
    assert sum(deliveries) == known + stored
    assert Task.objects.count() == len(deliveries) == min(known + stored, 1)


def test_only_without_conditions_is_a_conflict_told_from_what_is_not_confirmed() -> None:
    record(key=b"a", progress=1)

    with pytest.raises(Unconfirmed):
        record(key=b"a", progress=2, confirming=[TRUE])
    with pytest.raises(IdempotencyConflict):
        record(key=b"a", progress=2)


def test_the_state_is_written_with_the_event() -> None:
    sent = full_body()

    recorded = record_event(
        event=task_status_event.run_validation(sent), digest=payload_digest(sent), source="", received_at=NOON
    )

    task = Task.objects.get()
    timestamp = NOON + minutes(0.5 / 60)
    orders = {field.attname for field in Task._meta.concrete_fields if field.attname.endswith("_order")}
    assert {
        name: getattr(task, name) for name in {f.attname for f in Task._meta.concrete_fields} - orders
    } == {
        "task_id": "task-1",
        "status": "running",
        "meaning": "running",
        "status_at": timestamp,
        "previous_status": None,
        "previous_meaning": None,
        "lost_events": None,
        "lost_at": None,
        "progress": 5,
        "event_type": "training_status_update",
        "task_type": "training",
        "entity_id": "entity-1",
        "origin_instance": "gpu-7",
        "origin_zone": "eu-1a",
        "origin_version": "1.2.3",
        "error_message": "out of memory",
        "error_category": "resource",
        "started_at": NOON - minutes(60),
        "completed_at": NOON,
        "first_event_id": recorded.event_id,
        "first_event_at": timestamp,
        "last_event_id": recorded.event_id,
        "last_event_at": timestamp,
        "last_received_at": NOON,
        "first_queued_at": None,
        "last_queued_at": None,
        "first_running_at": timestamp,
        "last_running_at": timestamp,
        "first_ended_at": None,
        "last_ended_at": None,
        "event_count": 1,
        "pruned_at": None,
    }
    assert list(task.events.all()) == [task.first_event] == [task.last_event]


def test_a_duplicate_is_counted_and_nothing_else() -> None:
    first = record(received_at=NOON, timestamp="2026-05-01T12:00:00Z")
    again = record(received_at=NOON + minutes(1), timestamp="2026-05-01T12:00:00Z")

    assert again == Recorded(first.event_id, "task-1", duplicate=True, status_changed=False)
    event, task = TaskStatusEvent.objects.get(), Task.objects.get()
    assert (event.deliveries, event.received_at) == (2, NOON)
    assert (task.event_count, task.last_received_at) == (1, NOON)


def test_the_same_body_of_another_task_is_another_event() -> None:
    record(task_id="a", key=b"1")
    record(task_id="b", key=b"1")

    assert TaskStatusEvent.objects.count() == Task.objects.count() == 2


def test_a_senders_key_tells_equal_bodies_apart() -> None:
    assert not record(key=b"1").duplicate
    assert not record(key=b"2").duplicate
    assert record(key=b"2").duplicate
    assert Task.objects.get().event_count == 2


def test_a_caller_may_give_subclasses() -> None:
    class Moment(datetime):
        pass

    at = Moment(2026, 5, 1, 12, tzinfo=UTC)
    event = task_status_event.run_validation(body()) | {"metadata": OrderedDict(a=1), "timestamp": at}

    record_event(event=event, digest=b"d" * 32, source="test", received_at=at)

    stored = TaskStatusEvent.objects.get()
    assert (stored.metadata, stored.timestamp, stored.received_at) == ({"a": 1}, at, at)


def test_the_same_key_with_another_body_is_a_conflict() -> None:
    record(key=b"1", progress=5)

    with pytest.raises(IdempotencyConflict), transaction.atomic():
        record(key=b"1", progress=6)

    assert TaskStatusEvent.objects.get().progress == Task.objects.get().progress == 5
    assert TaskStatusEvent.objects.get().deliveries == 1


@pytest.mark.parametrize("length", [1, MAX_KEY_BYTES, MAX_KEY_BYTES + 1, 5000])
def test_a_key_of_any_length_fits(length: int) -> None:
    key = b"\xff" * length

    assert not record(key=key).duplicate
    assert record(key=key).duplicate
    stored = bytes(TaskStatusEvent.objects.get().idempotency_key)
    assert stored == (key if length <= MAX_KEY_BYTES else hashlib.sha256(key).digest())


def test_a_long_source_is_cut_to_the_column() -> None:
    sent = body()

    record_event(event=task_status_event.run_validation(sent), digest=payload_digest(sent), source="s" * 300)

    assert TaskStatusEvent.objects.get().source == "s" * 255


def test_canonical_json_is_the_same_for_the_same_object() -> None:
    assert canonical_json({"b": [1, 2.0, None], "a": "é"}) == '{"a":"é","b":[1,2.0,null]}'
    assert payload_digest({"a": 1, "b": 2}) == payload_digest({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("statuses", "changes"),
    [
        (["running", "running", "completed"], [True, False, True]),
        ([None, "running"], [False, True]),
        (["running", None], [True, False]),
        (["completed", "running"], [True, False]),
    ],
)
def test_status_changed(statuses: list[str | None], changes: list[bool]) -> None:
    said = [
        record(received_at=NOON + minutes(number), status=status, progress=number).status_changed
        for number, status in enumerate(statuses)
    ]

    assert said == changes


@pytest.mark.django_db(transaction=True)
def test_the_signal_is_sent_once_for_each_stored_event(announced: list[dict[str, Any]]) -> None:
    recorded = record(received_at=NOON, metadata={"a": 1}, timestamp="2026-05-01T11:59:00Z")
    record(received_at=NOON, metadata={"a": 1}, timestamp="2026-05-01T11:59:00Z")
    record(received_at=NOON, status="completed", timestamp="2026-05-01T11:59:30Z")

    first, second = announced
    assert not first["event"]._state.adding
    assert first["event"]._state.db == first["task"]._state.db == "default"
    assert (first["status_changed"], second["status_changed"]) == (True, True)
    assert first["sender"] is TaskStatusEvent
    stored = TaskStatusEvent.objects.get(pk=recorded.event_id)
    for field in TaskStatusEvent._meta.concrete_fields:
        if field.attname != "deliveries":
            assert getattr(first["event"], field.attname) == getattr(stored, field.attname)
    assert first["event"].task is first["task"]
    assert first["task"].status == "running"
    for field in Task._meta.concrete_fields:
        assert getattr(second["task"], field.attname) == getattr(Task.objects.get(), field.attname)


@pytest.mark.django_db(transaction=True)
def test_the_signal_waits_for_the_commit(announced: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        record()
        assert announced == []
    assert len(announced) == 1

    with transaction.atomic():
        record(progress=6)
        transaction.set_rollback(True)
    assert len(announced) == 1


def raise_trouble(**said: Any) -> None:
    raise RuntimeError("the receiver's own trouble")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fail", [raise_trouble, partial(raise_trouble)], ids=["function", "without a name"])
def test_a_receiver_that_raises_is_logged_once_and_costs_nothing(
    caplog: pytest.LogCaptureFixture, fail: Any
) -> None:
    event_recorded.connect(fail)
    try:
        assert not record().duplicate
    finally:
        event_recorded.disconnect(fail)

    event = TaskStatusEvent.objects.get()
    (line,) = caplog.records
    assert "the receiver's own trouble" in caplog.text
    assert line.getMessage().endswith(f"event_recorded failed: task='task-1' event={event.pk}")


@pytest.mark.django_db(transaction=True)
def test_concurrent_events_of_one_task_all_count() -> None:
    def send(number: int) -> bool:
        try:
            return record(progress=number, timestamp=(NOON + minutes(number)).isoformat()).status_changed
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        changed = list(pool.map(send, range(40)))

    task = Task.objects.get()
    assert (task.event_count, task.progress, TaskStatusEvent.objects.count()) == (40, 39, 40)
    assert changed.count(True) == 1, "the status was set once, by whichever came first"
    assert rebuild_task("task-1") == {}


@pytest.mark.django_db(transaction=True)
def test_32_identical_events_at_once_are_one() -> None:
    def send(number: int) -> Recorded:
        try:
            return record()
        finally:
            connection.close()

    with ThreadPoolExecutor(32) as pool:
        recorded = list(pool.map(send, range(32)))

    event = TaskStatusEvent.objects.get()
    assert event.deliveries == 32
    assert {one.event_id for one in recorded} == {event.pk}
    assert [one.duplicate for one in recorded].count(False) == 1
    assert Task.objects.get().event_count == 1


@pytest.mark.parametrize(
    "damage", [{"progress": 99, "status": "lost"}, {"event_count": 7}, {"status_order": b""}]
)
def test_rebuild_mends_a_row_and_says_what_differed(damage: dict[str, Any]) -> None:
    record(timestamp="2026-05-01T12:00:00Z")
    record(timestamp="2026-05-01T12:01:00Z", status="completed", progress=100)
    before = Task.objects.values().get()
    Task.objects.update(**damage)

    assert rebuild_task("task-1", dry_run=True).keys() == damage.keys()
    assert Task.objects.values().get() != before
    differences = rebuild_task("task-1")

    assert differences == {column: (value, {**before}[column]) for column, value in damage.items()}
    assert Task.objects.values().get() == before
    assert rebuild_task("task-1") == {}


def test_rebuild_brings_back_a_row_that_is_missing() -> None:
    record(timestamp="2026-05-01T12:00:00Z")
    before = Task.objects.values().get()
    Task.objects.all().delete()

    assert rebuild_task("task-1")["status"] == (None, "running")
    assert Task.objects.values().get() == before


@pytest.mark.django_db(transaction=True)
def test_rebuild_loses_no_event_that_comes_while_the_row_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        try:
            record(status="completed", progress=7)
        finally:
            connection.close()

    def read(*args: Any) -> Any:
        state = read_ledger(*args)
        if writer.ident is None:
            writer.start()
            writer.join(1)  # on SQLite it waits for this transaction
        return state

    record(status="running")
    Task.objects.all().delete()
    writer, read_ledger = threading.Thread(target=write), rebuilding._state_in_ledger
    monkeypatch.setattr(rebuilding, "_state_in_ledger", read)

    rebuild_task("task-1")
    writer.join()

    task = Task.objects.get()
    assert (task.status, task.event_count) == ("completed", 2)
    assert rebuild_task("task-1") == {}


def test_rebuild_leaves_a_task_without_events_alone() -> None:
    record()
    TaskStatusEvent.objects.all().delete()

    assert rebuild_task("task-1") == {}
    assert rebuild_task("no such task") == {}
    assert Task.objects.count() == 1
