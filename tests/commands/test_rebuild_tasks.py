"""``manage.py rebuild_tasks``."""

from __future__ import annotations

from math import ceil

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tasks.management.commands import rebuild_tasks
from tasks.models import Task
from tests.factories import record

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _three_tasks_of_which_one_is_wrong() -> None:
    for task_id in ("a", "b", "c"):
        record(task_id=task_id)
    Task.objects.filter(pk="b").update(progress=99, status_order=b"\x01")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    call_command("rebuild_tasks", *arguments)
    return capsys.readouterr().out.splitlines()


def test_reports_and_mends_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == ["b: progress was 99.0, is 5.0", "3 tasks, 1 differed and were mended."]
    assert Task.objects.get(pk="b").progress == 5
    assert shown(capsys) == ["3 tasks, 0 differed and were mended."]


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_ids_are_read_in_batches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """The last one is empty."""
    monkeypatch.setattr(rebuild_tasks, "BATCH", batch)
    record(task_id="a", progress=6)

    with CaptureQueriesContext(connection) as captured:
        assert shown(capsys)[-1] == "3 tasks, 1 differed and were mended."
    assert sum("DISTINCT" in query["sql"] for query in captured) == ceil(3 / batch) + 1


def test_dry_run_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--dry-run") == ["b: progress was 99.0, is 5.0", "3 tasks, 1 differ."]
    assert Task.objects.get(pk="b").progress == 99


def test_only_the_tasks_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--task-id", "a", "--task-id", "c") == ["2 tasks, 0 differed and were mended."]
    assert Task.objects.get(pk="b").progress == 99


def test_order_keys_alone_are_told_without_their_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    Task.objects.filter(pk="b").update(progress=5)

    assert shown(capsys)[0] == "b: order keys"


def test_a_change_of_the_statuses_is_taken_up(
    capsys: pytest.CaptureFixture[str], settings: pytest.FixtureRequest
) -> None:
    settings.SARTIQ_TASKS = {"STATUSES": {"succeeded": ["running"]}}  # type: ignore[attr-defined]
    shown(capsys)

    assert set(Task.objects.values_list("meaning", flat=True)) == {"succeeded"}
