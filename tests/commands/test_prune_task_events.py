"""``manage.py prune_task_events``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tasks.management.arguments import age
from tasks.models import Reaction, RejectedDelivery, Task, TaskStatusEvent
from tests.factories import record, rejected

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _one_old_task_and_one_new() -> None:
    now = timezone.now()
    record(task_id="old", received_at=now - timedelta(days=100), status="completed")
    record(task_id="new", received_at=now - timedelta(days=10), status="completed")
    rejected(received_at=now - timedelta(days=30))
    rejected(received_at=now - timedelta(days=29))


def shown(capsys: pytest.CaptureFixture[str], *arguments: Any) -> list[str]:
    call_command("prune_task_events", *arguments)
    lines = capsys.readouterr().out.splitlines()
    return [re.sub(r",.*| (were|are|have) .*", "", line) for line in lines]


def test_deletes_events_and_keeps_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--older-than", "90d") == ["1 events deleted", "1 rejected deliveries deleted"]
    assert TaskStatusEvent.objects.get().task_id == "new"
    assert Task.objects.count() == 2
    assert RejectedDelivery.objects.get().received_at > timezone.now() - timedelta(days=30)


def test_remove_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--older-than", "90d", "--remove-tasks") == [
        "1 events deleted",
        "1 tasks deleted.",
        "1 rejected deliveries deleted",
    ]
    assert Task.objects.get().pk == "new"


def test_rejected_deliveries_go_by_their_own_setting(
    capsys: pytest.CaptureFixture[str], settings: Any
) -> None:
    settings.SARTIQ_TASKS = {"REJECTED_RETENTION": timedelta(days=29)}

    assert shown(capsys, "--older-than", "90d") == ["1 events deleted", "2 rejected deliveries deleted"]


def _two_ended_reactions() -> None:
    now = timezone.now()
    times = {"created_at": now, "due_at": now}
    for seq, days in enumerate((31, 29), start=1):
        of = {"task_id": "new", "handler": "refund", "kind": "change", "seq": seq, **times}
        Reaction.objects.create(state="done", ended_at=now - timedelta(days=days), **of)


def test_reactions_go_by_their_own_setting(capsys: pytest.CaptureFixture[str]) -> None:
    _two_ended_reactions()

    assert shown(capsys, "--older-than", "90d")[-1] == "1 ended reactions deleted"
    assert Reaction.objects.get().seq == 2


def test_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--older-than", "90d", "--dry-run") == ["1 events", "1 rejected deliveries"]
    assert RejectedDelivery.objects.count() == 2
    assert TaskStatusEvent.objects.count() == 2


def test_dry_run_counts_everything_that_the_run_then_deletes(capsys: pytest.CaptureFixture[str]) -> None:
    _two_ended_reactions()
    record(task_id="running", received_at=timezone.now() - timedelta(days=100), status="running")
    options = ("--older-than", "90d", "--remove-tasks")

    planned = shown(capsys, *options, "--dry-run")

    assert planned == ["2 events", "1 tasks", "1 rejected deliveries", "1 ended reactions"]
    assert Reaction.objects.count() == 2
    assert Task.objects.count() == 3
    assert shown(capsys, *options) == [
        "2 events deleted",
        "1 tasks deleted.",
        "1 rejected deliveries deleted",
        "1 ended reactions deleted",
    ]


@pytest.mark.parametrize("arguments", [["--older-than", "90"], [], ["--older-than", "90d", "--batch", "0"]])
def test_invalid_options(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("prune_task_events", *arguments)
    assert TaskStatusEvent.objects.count() == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90d", timedelta(days=90)), ("36h", timedelta(hours=36)), ("2w", timedelta(days=14))],
)
def test_age(text: str, expected: timedelta) -> None:
    assert age(text) == expected


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1.5d", "90m", "90 d", "100000d"])
def test_no_age(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        age(text)
