"""The invariants that the database itself holds."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection

from tasks.ledger.upsert import insert_event, merge_task, record_in_one
from tasks.models import Task, TaskStatusEvent
from tests.factories import record

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", [Task, TaskStatusEvent])
@pytest.mark.parametrize("progress", [-0.1, 100.1])
def test_progress_is_a_percentage(model: Any, progress: float) -> None:
    record()

    with pytest.raises(IntegrityError, match="progress"):
        model.objects.update(progress=progress)


def test_a_key_is_unique_within_its_task() -> None:
    record(key=b"1")
    event = TaskStatusEvent.objects.get()
    event.pk = None

    with pytest.raises(IntegrityError, match="idempotency_key"):
        event.save(force_insert=True)


def test_what_they_are_called() -> None:
    record(task_id="task-7", event_type="started")

    assert [str(Task.objects.get()), str(TaskStatusEvent.objects.get())] == ["task-7", "task-7: started"]


def unique_keys(table: str) -> set[tuple[str, ...]]:
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, table)
    return {
        tuple(constraint["columns"])
        for constraint in constraints.values()
        if constraint["unique"] or constraint["primary_key"]
    }


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's rowid tables have no other layout")
def test_every_unique_key_begins_with_the_task_id() -> None:
    assert unique_keys("sartiq_tasks_task") == {("task_id",)}
    assert unique_keys("sartiq_tasks_taskstatusevent") == {("task_id", "id"), ("task_id", "idempotency_key")}


@pytest.mark.parametrize("statement", [insert_event(), merge_task("status"), record_in_one("status")])
def test_every_hot_statement_finds_its_rows_by_task_id(statement: str) -> None:
    keys = re.findall(r"ON CONFLICT ?\((\w+)", statement)

    assert keys
    assert set(keys) == {"task_id"}


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
