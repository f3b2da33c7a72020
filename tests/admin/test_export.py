"""Files that a spreadsheet does not run and a program can read."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tasks.admin.export import FORMATS, cell, export
from tasks.models import TaskStatusEvent
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


def rows_of(format_: str) -> str:
    response = export(
        TaskStatusEvent.objects.all(), ("task_id", "progress", "timestamp", "metadata"), format_
    )
    return b"".join(response.streaming_content).decode()


@pytest.mark.django_db
def test_csv_holds_what_was_sent() -> None:
    record(task_id='=a,"b"\nc', metadata={"a": "=1"}, timestamp="2026-05-01T12:00:00.25Z")

    assert list(csv.reader(rows_of("csv").splitlines(keepends=True))) == [
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
    response = export(TaskStatusEvent.objects.all(), ("task_id",), format_)

    assert response.streaming
    assert f'.{format_}"' in response["Content-Disposition"]
    assert datetime.now(UTC).strftime("%Y%m%d") in response["Content-Disposition"]
