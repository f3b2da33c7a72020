"""Files that a spreadsheet does not run and a program can read."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tasks.admin.export import FORMATS, cell, export
from tasks.models import Task, TaskStatusEvent
from tests.factories import record


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+49", "'+49"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("\uff1d1", "'\uff1d1"),
        ("a=1", "a=1"),
        ("", ""),
        (None, ""),
        (0.5, 0.5),
        ({"ü": [1]}, '{"ü": [1]}'),
        ([], "[]"),
        (datetime(2026, 5, 1, tzinfo=timezone(timedelta(hours=2))), "2026-04-30T22:00:00Z"),
    ],
)
def test_cell(value: Any, written: Any) -> None:
    assert cell(value) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("x" * 32_767, "x" * 32_767),
        ("x" * 32_768, "x" * 32_766 + "…"),
        ("=" * 32_767, "'" + "=" * 32_765 + "…"),
        ("😀" * 16_383 + "x", "😀" * 16_383 + "x"),
        ("😀" * 16_384, "😀" * 16_383 + "…"),
        ("x" + "😀" * 16_384, "x" + "😀" * 16_382 + "…"),
        (["x" * 40_000], '["' + "x" * 32_764 + "…"),
    ],
)
def test_a_cell_holds_no_more_than_a_spreadsheet(text: Any, written: str) -> None:
    assert cell(text) == written
    assert len(cell(text).encode("utf-16-le")) <= 2 * 32_767


def rows_of(format_: str) -> str:
    response = export(
        TaskStatusEvent.objects.order_by("-pk"), ("task_id", "progress", "timestamp", "metadata"), format_
    )
    return b"".join(response.streaming_content).decode()


@pytest.mark.django_db
def test_csv_holds_what_was_sent() -> None:
    record(task_id='=a,"b"\nc', metadata={"a": "=1"}, timestamp="2026-05-01T12:00:00.25Z")

    written = rows_of("csv")

    assert written.startswith("\ufefftask_id,"), "the mark by which Excel knows UTF-8"
    assert list(csv.reader(written.removeprefix("\ufeff").splitlines(keepends=True))) == [
        ["task_id", "progress", "timestamp", "metadata"],
        ['\'=a,"b"\nc', "5.0", "2026-05-01T12:00:00.250000Z", '{"a": "=1"}'],
    ]


@pytest.mark.django_db
def test_json_lines_hold_exactly_what_was_sent() -> None:
    record(task_id="=a\n", metadata={"a": "=1"})
    record(task_id="b", timestamp="2026-05-01T12:00:00Z")

    assert [json.loads(line) for line in rows_of("jsonl").splitlines()] == [
        {"task_id": "b", "progress": 5.0, "timestamp": "2026-05-01T12:00:00Z", "metadata": None},
        {"task_id": "=a\n", "progress": 5.0, "timestamp": None, "metadata": {"a": "=1"}},
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_is_streamed_under_a_name_of_its_own(format_: str) -> None:
    before = datetime.now(UTC)
    response = export(TaskStatusEvent.objects.all(), ("task_id",), format_)

    assert response.streaming
    found = re.search(rf'"taskstatusevent-(\S+)\.{format_}"', response["Content-Disposition"])
    assert found
    assert before.replace(microsecond=0) <= datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@pytest.mark.django_db
@pytest.mark.parametrize("batch", [1, 2, 500])
def test_the_rows_are_in_the_order_of_the_list(monkeypatch: Any, batch: int) -> None:
    monkeypatch.setattr("tasks.admin.export.BATCH", batch)
    for task_id, progress in (("b", 2), ("a", 3), ("c", 1)):
        record(task_id=task_id, progress=progress)
    rows = Task.objects.filter(progress__gt=1).order_by("progress")
    response = export(rows, ("task_id",), "jsonl")
    Task.objects.filter(task_id="b").update(progress=9)
    written = b"".join(response.streaming_content).decode()

    assert [json.loads(line)["task_id"] for line in written.splitlines()] == ["a", "b"]
    response = export(rows, ("task_id",), "jsonl")
    content = iter(response.streaming_content)
    first = next(content)
    Task.objects.filter(task_id="a").delete()
    assert (json.loads(first)["task_id"], len(list(content))) == ("a", 1)


@pytest.mark.django_db
def test_a_row_that_is_deleted_meanwhile_is_left_out(monkeypatch: Any) -> None:
    monkeypatch.setattr("tasks.admin.export.BATCH", 1)
    for task_id in "abc":
        record(task_id=task_id)
    content = iter(export(Task.objects.order_by("task_id"), ("task_id",), "jsonl").streaming_content)
    next(content)
    Task.objects.filter(task_id="b").delete()

    assert [json.loads(line)["task_id"] for line in content] == ["c"]


@pytest.mark.django_db
def test_more_rows_are_in_the_order_of_their_keys(monkeypatch: Any) -> None:
    monkeypatch.setattr("tasks.admin.export.MAX_ORDERED", 2)
    for task_id, progress in (("b", 2), ("a", 3), ("c", 1)):
        record(task_id=task_id, progress=progress)
    written = b"".join(export(Task.objects.order_by("progress"), ("task_id",), "jsonl").streaming_content)

    assert [json.loads(line)["task_id"] for line in written.splitlines()] == ["c", "b", "a"]


@pytest.mark.django_db
def test_the_list_of_tasks_is_exported_as_it_is_sorted_with_durations(admin_client: Any) -> None:
    for minute, task_id in ((3, "b"), (5, "a"), (4, "c")):
        record(task_id=task_id, started_at="2026-05-01T12:00:00Z", progress=minute, status="done",
               completed_at=f"2026-05-01T12:0{minute}:00Z")  # fmt: skip
    written = admin_client.get("/admin/sartiq_tasks/task/export.csv", {"o": "-7"})
    rows = csv.DictReader(b"".join(written.streaming_content).decode("utf-8-sig").splitlines())

    assert [(row["task_id"], row["elapsed_seconds"]) for row in rows] == [
        ("a", "300.0"), ("c", "240.0"), ("b", "180.0")
    ]  # fmt: skip


@pytest.mark.django_db
def test_the_lengths_of_a_task_are_exported_apart(admin_client: Any) -> None:
    for minute, status in ((0, "queued"), (2, "running"), (7, "done")):
        record(status=status, timestamp=f"2026-05-01T12:0{minute}:00Z", progress=minute)
    written = admin_client.get("/admin/sartiq_tasks/task/export.jsonl")
    told = json.loads(b"".join(written.streaming_content))

    assert [told[f"{name}_seconds"] for name in ("queued", "ran", "elapsed")] == [120, 300, 420]
    record(task_id="another", status="queued")
    written = admin_client.get("/admin/sartiq_tasks/task/export.jsonl", {"q": "another"})
    told = json.loads(b"".join(written.streaming_content))
    assert (told["queued_seconds"], told["ran_seconds"]) == (None, None)
