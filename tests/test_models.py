"""The invariants that the database itself holds."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection
from hypothesis import given
from hypothesis import strategies as st

from tasks.conf import AppSettings
from tasks.ledger.upsert import insert_event, merge_task, record_in_one
from tasks.lifecycle import Meaning, Phase, fold, state_of
from tasks.models import Task, TaskStatusEvent
from tasks.serializers import task_status_event
from tests.cluster import not_on_citus
from tests.databases import is_citus
from tests.factories import NOON, body, minutes, record

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", [Task, TaskStatusEvent])
@pytest.mark.parametrize("progress", [-0.1, 100.1, float("inf"), float("nan")])
def test_progress_is_a_percentage(model: Any, progress: float) -> None:
    record()

    with pytest.raises(IntegrityError, match="progress"):
        model.objects.update(progress=progress)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL's own texts")
def test_no_check_converts_its_bounds_at_every_delivery() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint"
            " WHERE conrelid = ANY(%s::regclass[]) AND contype = 'c' AND conbin::text LIKE '%%FUNCEXPR%%'",
            [[Task._meta.db_table, TaskStatusEvent._meta.db_table]],
        )
        assert cursor.fetchall() == []


def test_a_key_is_unique_within_its_task() -> None:
    record(key=b"1")
    event = TaskStatusEvent.objects.get()
    event.pk = None

    with pytest.raises(IntegrityError, match="idempotency_key"):
        event.save(force_insert=True)


def test_what_they_are_called() -> None:
    record(task_id="task-7", event_type="started")

    assert [str(Task.objects.get()), str(TaskStatusEvent.objects.get())] == ["task-7", "task-7: started"]


def task_after(*events: tuple[float, str | None]) -> Task:
    """Return the task after events with these minutes and statuses."""
    for number, (minute, status) in enumerate(events):
        timestamp = (NOON + minutes(minute)).isoformat()
        record(NOON + minutes(9), status=status, timestamp=timestamp, key=b"%d" % number)
    return Task.objects.get()


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("pending", (False, False, False, Phase.QUEUED)),
        ("running", (False, False, False, Phase.RUNNING)),
        ("completed", (True, True, False, Phase.ENDED)),
        ("failed", (True, False, True, Phase.ENDED)),
        ("cancelled", (True, False, False, Phase.ENDED)),
        ("odd", (False, False, False, None)),
        (None, (False, False, False, None)),
    ],
)
def test_what_a_status_says(status: str | None, told: tuple[Any, ...]) -> None:
    task = task_after((1, status))

    assert (task.is_ended, task.has_succeeded, task.has_failed, task.phase) == told
    assert task.phase_since == (NOON + minutes(1) if task.phase else None)


@pytest.mark.parametrize(
    ("events", "since", "after"),
    [
        pytest.param([(1, "running")], 1, None, id="one event"),
        pytest.param([(n, "running") for n in (3, 1, 2)], 1, None, id="many, in any order"),
        pytest.param([(2, "running"), (0, "pending"), (1, "running")], 1, 0, id="queued before"),
        pytest.param([(5, "pending"), (5, "running")], 5, 5, id="queued at the same time"),
        pytest.param([(1, "running"), (2, "failed"), (3, "failed")], 2, 1, id="an end that is said twice"),
        pytest.param([(1, "running"), (2, "failed"), (3, "running")], None, 2, id="runs again"),
        pytest.param([(1, "running"), (2, "failed"), (3, "running"), (4, "done")], None, 3, id="ends again"),
        pytest.param([(1, "running"), (2, "pending")], 2, 1, id="queued again, first of all"),
        pytest.param([(0, "new"), (1, "running"), (2, "new")], None, 1, id="queued again"),
        pytest.param([(1, "running"), (2, "odd"), (3, "running")], 1, None, id="an unknown word between"),
        pytest.param([(1, "running"), (2, None), (3, "running")], 1, None, id="no status between"),
        pytest.param([(1, "running"), (2, "odd")], None, 1, id="ends with an unknown word"),
    ],
)
def test_since_when(events: Any, since: float | None, after: float | None) -> None:
    task = task_after(*events)

    assert task.phase_since == (None if since is None else NOON + minutes(since))
    assert task.phase_after == (None if after is None else NOON + minutes(after))


STATUSES = st.sampled_from([None, "new", "running", "done", "failed", "odd"])


@given(st.lists(st.tuples(st.integers(0, 9), STATUSES), min_size=1))
def test_since_when_is_right_or_not_said(history: list[tuple[int, str | None]]) -> None:
    """Against all events, sorted: where the last stretch of events with the same phase begins."""
    events = [
        body(status=status, timestamp=(NOON + minutes(minute)).isoformat()) for minute, status in history
    ]
    states = [
        state_of(
            task_status_event.run_validation(event),
            event_id=number,
            received_at=NOON + minutes(9),
            tie=bytes([number % 256]),
            settings=AppSettings(),
        )
        for number, event in enumerate(events)
    ]
    told = sorted(
        (one for one in states if one["status"] is not None and one["meaning"] != "other"),
        key=lambda one: one["status_order"],
    )
    task = Task(**fold(states))
    if task.phase is None:
        assert task.phase_since is None
        return
    stretch = list(takewhile(lambda one: Meaning(one["meaning"]).phase is task.phase, reversed(told)))
    before = told[: -len(stretch)]

    assert task.phase_since in (None, stretch[-1]["status_at"])
    assert (task.phase_since is None) <= any(Meaning(one["meaning"]).phase is task.phase for one in before)
    assert task.phase_after == (before[-1]["status_at"] if before else None)


@pytest.mark.parametrize(
    ("events", "waited", "first_run"),
    [
        ([(0, "new"), (2, "running"), (3, "running"), (7, "done")], 2, 5),
        ([(0, "new"), (2, "running"), (3, "failed"), (5, "running"), (9, "done")], 2, 1),
        ([(0, "new"), (2, "running")], 2, None),
        ([(2, "running"), (3, "done")], None, 1),
        ([(0, "new"), (3, "cancelled")], None, None),
        ([(1, "running"), (2, "new")], None, None),
    ],
)
def test_how_long_it_waited_and_ran(events: Any, waited: float | None, first_run: float | None) -> None:
    task = task_after(*reversed(events))

    assert task.waited == (None if waited is None else minutes(waited))
    assert task.first_run == (None if first_run is None else minutes(first_run))


@pytest.mark.parametrize(
    ("events", "duration"),
    [
        ([(0, "new"), (1, "running")], 20),
        ([(0, "new"), (1, "running"), (4, "done"), (9, "done")], 4),
        ([(0, "running"), (1, "failed"), (2, "running"), (9, "failed")], 9),
    ],
)
def test_duration(events: Any, duration: float) -> None:
    assert task_after(*events).duration(NOON + minutes(20)) == minutes(duration)


def unique_keys(table: str) -> set[tuple[str, ...]]:
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, table)
    return {
        tuple(constraint["columns"])
        for constraint in constraints.values()
        if constraint["unique"] or constraint["primary_key"]
    }


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's rowid tables have no other layout")
def test_every_unique_key_but_an_events_id_begins_with_the_task_id() -> None:
    assert unique_keys("sartiq_tasks_task") == {("task_id",)}
    keys = {("task_id", "id"), ("task_id", "idempotency_key")}
    # The one exception is the event's id, to which a host's foreign key refers. On Citus none can.
    assert unique_keys("sartiq_tasks_taskstatusevent") == (keys if is_citus() else keys | {("id",)})


STATEMENTS = (
    insert_event(),
    insert_event(condition=None),
    merge_task("status", "sqlite"),
    merge_task("status", "postgresql"),
    record_in_one("status"),
)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_hot_statement_finds_its_rows_by_task_id(statement: str) -> None:
    keys = re.findall(r"ON CONFLICT ?\((\w+)", statement)

    assert keys
    assert set(keys) == {"task_id"}


@not_on_citus("its ids no longer come from the table, so that 0002 cannot go back")
@pytest.mark.django_db(transaction=True)
def test_the_migrations_go_back_and_forth() -> None:
    with connection.cursor() as cursor:
        before = connection.introspection.get_constraints(cursor, "sartiq_tasks_taskstatusevent")
    call_command("migrate", "sartiq_tasks", "0001", verbosity=0)
    try:
        assert ("task_id", "id") in unique_keys("sartiq_tasks_taskstatusevent")
        assert unique_keys("sartiq_tasks_taskstatusevent") >= {("id",)}
    finally:
        call_command("migrate", "sartiq_tasks", verbosity=0)
    with connection.cursor() as cursor:
        assert connection.introspection.get_constraints(cursor, "sartiq_tasks_taskstatusevent") == before
    assert not record().duplicate
