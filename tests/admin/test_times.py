"""Every time that the contract accepts is shown by every page, in every zone."""

from __future__ import annotations

import csv
import json
import re
from typing import Any

import pytest
from django.test import Client

from tasks.admin.addresses import event_url, task_url
from tests.factories import NOON, minutes, record, rejected

pytestmark = pytest.mark.django_db
ZONES = ["UTC", "America/New_York", "Pacific/Kiritimati"]
FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"
TIMES = [
    FIRST,
    "0001-01-01T00:00:00.000001Z",
    "0001-01-02T12:00:00Z",
    "1883-11-18T12:03:58Z",
    "2026-03-08T02:30:00-05:00",
    "9999-12-31T10:00:00Z",
    LAST,
]
ADMIN = "/admin/sartiq_tasks"


def text_of(client: Client, address: str) -> str:
    answer: Any = client.get(address)
    assert answer.status_code == 200, address
    return (b"".join(answer.streaming_content) if answer.streaming else answer.content).decode()


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("at", TIMES)
def test_every_page_shows_every_time(admin_client: Client, settings: Any, zone: str, at: str) -> None:
    settings.TIME_ZONE = zone
    record(NOON, timestamp=at, started_at=at, completed_at=at)
    record(NOON + minutes(1), timestamp=NOON.isoformat(), started_at=LAST, completed_at=FIRST, progress=6)
    event = record(NOON + minutes(2), timestamp=at, status="failed", started_at=at, completed_at=at)
    rejected(json.dumps({"timestamp": at}).encode())
    pages = [f"{ADMIN}/{model}/" for model in ("task", "taskstatusevent", "rejecteddelivery")]
    files = [f"{page}export.{ending}" for page in pages for ending in ("csv", "jsonl")]

    for address in [*pages, *files, task_url("task-1"), event_url(event.event_id)]:
        text = text_of(admin_client, address)
        assert not re.search(r"\d{6} d\b", text), "a duration that nobody measured"


@pytest.mark.parametrize(
    ("zone", "at", "text", "on_hover"),
    [
        ("UTC", FIRST, "0001-01-01 00:00:00.000", "0001-01-01 00:00:00.000 UTC"),
        ("America/New_York", FIRST, "0001-01-01 00:00:00.000 UTC", "0001-01-01 00:00:00.000 UTC"),
        ("Pacific/Kiritimati", FIRST, "0001-01-01 00:00:00.000 UTC", "0001-01-01 00:00:00.000 UTC"),
        ("UTC", LAST, "9999-12-31 23:59:59.999", "9999-12-31 23:59:59.999 UTC"),
        ("America/New_York", LAST, "9999-12-31 18:59:59.999", "9999-12-31 18:59:59.999 EST"),
        ("Pacific/Kiritimati", LAST, "9999-12-31 23:59:59.999 UTC", "9999-12-31 23:59:59.999 UTC"),
    ],
)
def test_at_an_end_of_the_calendar_that_the_zone_is_beyond_utc_is_named(
    admin_client: Client, settings: Any, zone: str, at: str, text: str, on_hover: str
) -> None:
    settings.TIME_ZONE = zone
    html = text_of(admin_client, event_url(record(NOON, timestamp=at).event_id))
    of_event = html[html.index("field-event_time") :]

    assert re.findall(r'<time [^>]*title="([^"]*)"[^>]*>([^<]*)<', of_event)[0] == (on_hover, text)


@pytest.mark.parametrize("at", TIMES)
def test_an_export_holds_the_time_in_utc(admin_client: Client, settings: Any, at: str) -> None:
    settings.TIME_ZONE = "America/New_York"
    record(NOON, timestamp=at)
    text = text_of(admin_client, f"{ADMIN}/taskstatusevent/export.csv")
    (row,) = csv.DictReader(text.removeprefix("\ufeff").splitlines())

    assert row["timestamp"] == {"2026-03-08T02:30:00-05:00": "2026-03-08T07:30:00Z"}.get(at, at)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("model", ["task", "taskstatusevent", "rejecteddelivery"])
@pytest.mark.parametrize("end", ["from", "to", ""])
@pytest.mark.parametrize("at", ["0001-01-01", "0001-01-01T00:00", "9999-12-31", "9999-12-31T23:59"])
def test_every_day_can_be_filtered_by(
    admin_client: Client, settings: Any, zone: str, model: str, end: str, at: str
) -> None:
    settings.TIME_ZONE = zone
    record()
    rejected()
    name = "last_received_at" if model == "task" else "received_at"
    answer: Any = admin_client.get(f"{ADMIN}/{model}/?{name}{end and f'_{end}'}={at}")

    assert answer.status_code == 200
    is_before_all, is_start = at.startswith("0001"), end == "from"
    assert len(answer.context["cl"].result_list) == int(bool(end) and is_before_all == is_start)
