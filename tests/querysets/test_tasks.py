"""Reads: what they find, and that they need no more than they should."""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tasks.ledger.silence import mark_lost
from tasks.lifecycle import Meaning
from tasks.models import Task, TaskStatusEvent
from tests.factories import NOON, minutes, record

pytestmark = pytest.mark.django_db


def ids(tasks: Any) -> set[str]:
    return set(tasks.values_list("task_id", flat=True))


def test_by_meaning_whatever_the_word() -> None:
    record(task_id="a", status="In-Progress")
    record(task_id="b", status="oom")

    assert ids(Task.objects.meaning(Meaning.RUNNING)) == {"a"}


@pytest.mark.parametrize(
    ("method", "found"),
    [
        ("running", {"running", "retrying"}),
        ("succeeded", {"DONE"}),
        ("failed", {"oom"}),
        ("ended", {"DONE", "oom", "revoked"}),
    ],
)
def test_by_what_the_status_means(method: str, found: set[str]) -> None:
    for status in ("queued", "running", "retrying", "DONE", "oom", "revoked", "unheard-of"):
        record(task_id=status, status=status)

    assert ids(getattr(Task.objects, method)()) == found


@pytest.mark.parametrize(
    ("after", "found"),
    [(minutes(3), {"silent"}), (minutes(1), {"silent", "heard"}), (timedelta(), {"silent", "heard"})],
)
def test_silent_by_the_setting_and_as_of_now(settings: Any, after: timedelta, found: set[str]) -> None:
    record(timezone.now() - minutes(4), task_id="silent")
    record(timezone.now() - minutes(2), task_id="heard")
    settings.SARTIQ_TASKS = {"SILENT_AFTER": after}

    assert ids(Task.objects.silent()) == found


TRAINING_LIMIT = {"training": minutes(60), "*": minutes(15)}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {"training", "training-old", "upscaling", "upscaling-old"}),
        ({"SILENT_AFTER": TRAINING_LIMIT}, {"training-old", "upscaling", "upscaling-old"}),
        ({"SILENT_AFTER": {"upscaling": None, "*": minutes(15)}}, {"training", "training-old"}),
        ({"SILENT_AFTER": {"upscaling": minutes(15), "*": None}}, {"upscaling", "upscaling-old"}),
        ({"SILENT_AFTER": {"training": None, "upscaling": minutes(60), "*": None}}, {"upscaling-old"}),
        ({"SILENT_AFTER": {"*": None}}, set()),
        ({"SILENT_AFTER": {"*": None}, "QUEUED_AFTER": minutes(60)}, {"queued"}),
        ({"QUEUED_AFTER": minutes(180)}, {"training", "training-old", "upscaling", "upscaling-old"}),
        (
            {"SILENT_AFTER": TRAINING_LIMIT, "QUEUED_AFTER": minutes(60)},
            {"training-old", "upscaling", "upscaling-old", "queued"},
        ),
    ],
)
def test_silent_by_task_type_in_the_query_as_in_the_row(
    settings: Any, given: dict[str, Any], found: set[str]
) -> None:
    for task_type in ("training", "upscaling"):
        record(NOON, task_id=f"{task_type}-old", task_type=task_type)
        record(NOON + minutes(90), task_id=task_type, task_type=task_type)
        record(NOON + minutes(119), task_id=f"{task_type}-heard", task_type=task_type)
        record(NOON, task_id=f"{task_type}-ended", task_type=task_type, status="failed")
    record(NOON, task_id="queued", status="queued")
    settings.SARTIQ_TASKS = given
    now = NOON + minutes(120)

    assert ids(Task.objects.silent(now=now)) == found
    assert {task.pk for task in Task.objects.all() if task.is_silent(now)} == found


def test_of_an_entity_and_changed_since() -> None:
    record(NOON, task_id="a", entity_id="e-1")
    record(NOON + minutes(1), task_id="b", entity_id="e-10")
    record(NOON + minutes(2), task_id="c")

    assert ids(Task.objects.of_entity("e-1")) == {"a"}
    assert ids(Task.objects.changed_since(NOON + minutes(1))) == {"b", "c"}
    record(NOON + minutes(3), task_id="a", entity_id="e-1", progress=6)
    assert ids(Task.objects.changed_since(NOON + minutes(2)).of_entity("e-1")) == {"a"}


def test_every_read_is_served_by_an_index() -> None:
    record(NOON, entity_id="e-1")
    model = Task.objects.get()
    long_ago = NOON - timedelta(days=1)
    changes = [{"meaning": meaning, "last_received_at": NOON} for meaning in Meaning.values]
    changes += [{"meaning": "queued", "last_received_at": long_ago}] * 2000
    rows = []
    for number, changed in enumerate(changes):
        row = copy(model)
        for name, value in {"task_id": f"t-{number}", "entity_id": f"e-{number}", **changed}.items():
            setattr(row, name, value)
        rows.append(row)
    Task.objects.bulk_create(rows, batch_size=500)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {Task._meta.db_table}")

    changed_since = Task.objects.changed_since(NOON)
    for tasks, index in (
        (Task.objects.running(), "sartiq_task_meaning"),
        (Task.objects.succeeded(), "sartiq_task_meaning"),
        (Task.objects.failed(), "sartiq_task_meaning"),
        (Task.objects.ended(), "sartiq_task_meaning"),
        (Task.objects.silent(now=NOON), "sartiq_task_meaning"),
        (Task.objects.lost(), "sartiq_task_lost"),
        (Task.objects.of_entity("e-1"), "sartiq_task_entity"),
        (changed_since, "sartiq_task_heard"),
        (changed_since.order_by("-last_received_at", "task_id"), "sartiq_task_heard"),
    ):
        plan = tasks.explain()

        assert index in plan
        for slow in ("SCAN", "Seq Scan", "TEMP B-TREE"):
            assert slow not in plan, index


def test_silent_are_the_running_ones_of_which_nothing_was_heard() -> None:
    record(NOON, task_id="silent")
    record(NOON, task_id="ended", status="failed")
    record(NOON + minutes(6), task_id="heard")

    assert ids(Task.objects.silent(now=NOON + minutes(20))) == {"silent"}


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("a", {"a", "ab", "a_b"}),
        ("a_", {"a_b"}),
        ("ab", {"ab"}),
        ("A", set()),
        ("", {"", "a", "ab", "a_b", "ü", "\U0010ffff", "\ud7ffx", "\ue000"}),
        ("\ud7ff", {"\ud7ffx"}),
        ("\U0010ffff", {"\U0010ffff"}),
        ("e-1", {"ab"}),
        ("e-", set()),
    ],
)
def test_search_of_tasks_and_events(term: str, found: set[str]) -> None:
    for task_id in ("", "a", "ab", "a_b", "ü", "\U0010ffff", "\ud7ffx", "\ue000"):
        record(task_id=task_id, entity_id="e-1" if task_id == "ab" else None)

    assert ids(Task.objects.search(term)) == found
    assert ids(TaskStatusEvent.objects.search(term)) == found


def test_counts_in_one_query(settings: Any, django_assert_num_queries: Any) -> None:
    settings.SARTIQ_TASKS = {**settings.SARTIQ_TASKS, "SILENT_AFTER": minutes(1)}
    for number in range(4):
        record(NOON, task_id=f"running-{number}")
    record(NOON, task_id="failed", status="failed")
    mark_lost(Task.objects.get(pk="running-0"))

    with django_assert_num_queries(1):
        counts = Task.objects.counts(cap=2, now=NOON + minutes(2))

    assert counts == {
        "queued": 0, "running": 3, "succeeded": 0, "failed": 1, "cancelled": 0, "other": 0, "silent": 3,
        "lost": 1,
    }  # fmt: skip


def test_a_list_reads_no_json_and_only_the_beginning_of_an_error(django_assert_num_queries: Any) -> None:
    record(error_message="x" * 10_000, metadata={"a": 1})

    with django_assert_num_queries(2):
        task = Task.objects.for_list().get()
        event = TaskStatusEvent.objects.for_list().get()

    assert len(vars(task)["error_start"]) == 200
    assert {"error_message", "last_order"} <= task.get_deferred_fields()
    assert {"error_message", "metadata"} <= event.get_deferred_fields()
    assert task.duration(NOON) < timedelta()
