"""Each filter finds what it says, and nothing asked of it is an error."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from tasks.admin import linked_filters
from tests.cluster import not_on_citus
from tests.factories import NOON, record

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows() -> None:
    now = timezone.now()
    record(now, task_id="new", status="running", task_type="t", origin_zone="z", event_type="e")
    record(now - timedelta(hours=2), task_id="two-hours", status="running", task_type="")
    record(now - timedelta(days=3), task_id="three-days", status="OOM", error_category="c")
    record(NOON, task_id="old", status="odd word")


ALL = {"new", "two-hours", "three-days", "old"}


def found(client: Client, model: str, query: dict[str, str]) -> set[str]:
    response = client.get(f"/admin/sartiq_tasks/{model}/?{urlencode(query)}")
    assert response.status_code == 200
    return {str(getattr(row, "task_id")) for row in response.context["cl"].result_list}  # noqa: B009 (both models)


def test_a_filter_by_time_tells_each_of_its_choices(admin_client: Client) -> None:
    """A host's own template of a filter may show them all."""
    changes: Any = admin_client.get("/admin/sartiq_tasks/task/?last_received_at=1h").context["cl"]
    (spec,) = (one for one in changes.filter_specs if one.parameter_name == "last_received_at")
    told = list(spec.choices(changes))

    assert [one["display"] for one in told[1:]] == [title for _value, title in spec.lookup_choices]
    assert [one["selected"] for one in told] == [False, True, *[False] * (len(told) - 2)]
    assert "last_received_at=24h" in told[2]["query_string"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ALL),
        ({"meaning": "running"}, {"new", "two-hours"}),
        ({"meaning": "failed"}, {"three-days"}),
        ({"meaning": "other"}, {"old"}),
        ({"meaning": "\0"}, set()),
        ({"silent": "1"}, {"two-hours"}),
        ({"task_type": "t"}, {"new"}),
        ({"task_type": ""}, {"two-hours"}),
        ({"task_type": "no such"}, set()),
        ({"task_type": "\0"}, set()),
        ({"origin_zone": "z"}, {"new"}),
        ({"error_category": "c"}, {"three-days"}),
        ({"last_received_at": "1h"}, {"new"}),
        ({"last_received_at": "24h"}, {"new", "two-hours"}),
        ({"last_received_at": "7d"}, ALL - {"old"}),
        ({"last_received_at": "2026-05-01"}, {"old"}),
        ({"last_received_at": "9999-12-31"}, set()),
        ({"last_received_at": "tomorrow"}, set()),
        ({"q": "two"}, {"two-hours"}),
        ({"meaning": "running", "task_type": "t", "last_received_at": "1h"}, {"new"}),
    ],
)
@pytest.mark.usefixtures("rows")
def test_tasks(admin_client: Client, query: dict[str, str], expected: set[str]) -> None:
    assert found(admin_client, "task", query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ALL),
        ({"status": "OOM"}, {"three-days"}),
        ({"status": "oom"}, set()),
        ({"event_type": "e"}, {"new"}),
        ({"task_type": "t"}, {"new"}),
        ({"error_category": "c"}, {"three-days"}),
        ({"received_at": "30d"}, ALL - {"old"}),
        ({"received_at": "2026-05-01"}, {"old"}),
        ({"task_id": "old"}, {"old"}),
    ],
)
@pytest.mark.usefixtures("rows")
def test_events(admin_client: Client, query: dict[str, str], expected: set[str]) -> None:
    assert found(admin_client, "taskstatusevent", query) == expected


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ({}, ("-id",)),
        ({"event_type": "e"}, ("-event_type", "-id")),
        ({"event_type": "e", "o": "0"}, ("event_type", "id")),
        ({"event_type": "e", "status": "running"}, ("-status", "-id")),
        ({"received_at": "24h"}, ("-id",)),
        ({"timestamp": "24h"}, ("-timestamp", "-id")),
        ({"timestamp_from": "2026-05-01", "status": "running", "o": "0"}, ("timestamp", "id")),
    ],
)
@pytest.mark.usefixtures("rows")
def test_the_order_that_an_index_serves(
    admin_client: Client, query: dict[str, str], order: tuple[str, ...]
) -> None:
    response = admin_client.get(f"/admin/sartiq_tasks/taskstatusevent/?{urlencode(query)}")

    # What Django adds at the end repeats the admin's own order.
    assert response.context["cl"].queryset.query.order_by[: len(order)] == order


@pytest.mark.usefixtures("rows")
def test_choices(admin_client: Client) -> None:
    html = admin_client.get(
        "/admin/sartiq_tasks/task/?task_type=unheard&last_received_at=2026-05-01"
    ).content.decode()

    for part in ("(blank)", "unheard", "Silent for 15 min", 'value="2026-05-01"',
                 'type="hidden" name="task_type" value="unheard"'):  # fmt: skip
        assert part in html


@pytest.mark.usefixtures("rows")
def test_silence_is_a_setting(admin_client: Client, settings: Any) -> None:
    settings.SARTIQ_TASKS = {"SILENT_AFTER": timedelta(hours=3)}

    assert found(admin_client, "task", {"silent": "1"}) == set()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"timestamp": "2026-05-01", "status": "running"}, {"b", "a"}),
        ({"timestamp_from": "2026-05-01T12:00:01"}, {"b"}),
        ({"timestamp_from": "2026-05-01T12:00", "timestamp_to": "2026-05-01T12:00:01"}, {"a"}),
        ({"timestamp": "1h"}, set()),
        ({}, {"a", "b", "none"}),
    ],
)
def test_events_by_the_time_that_the_sender_says(
    admin_client: Client, query: dict[str, str], expected: set[str]
) -> None:
    record(task_id="none")
    for task_id, second in (("b", 9), ("a", 1)):
        record(task_id=task_id, timestamp=f"2026-05-01T12:00:0{second - 1}.500Z")

    assert found(admin_client, "taskstatusevent", query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"last_event_at": "2026-05-01"}, {"on time", "ahead"}),
        ({"last_event_at_from": "2026-05-01T12:00:01"}, {"ahead", "after", "late"}),
        ({"last_event_at_from": "2026-05-01T12:00", "last_event_at_to": "2026-05-01T12:00"}, {"on time"}),
        ({"last_event_at_to": "2026-05-01T12:00"}, {"on time", "before"}),
        ({"last_event_at_to": "9999-12-31T23:59"}, {"before", "on time", "ahead", "after", "late"}),
        ({"last_event_at_from": "0001-01-01"}, {"before", "on time", "ahead", "after", "late"}),
        ({"last_event_at": "1h"}, set()),
        ({"last_event_at": "soon"}, set()),
        # It came more than a day after its time.
        ({"last_event_at": "2026-05-02"}, {"after"}),
        ({"last_event_at": "2026-05-01", "meaning": "running", "o": "-1"}, {"on time", "ahead"}),
    ],
)
def test_tasks_by_the_time_of_their_last_event(
    admin_client: Client, query: dict[str, str], expected: set[str]
) -> None:
    for task_id, at, received_after in (
        ("before", NOON - timedelta(days=1), timedelta(hours=23)),
        ("on time", NOON, timedelta(seconds=1)),
        ("ahead", NOON + timedelta(minutes=4), -timedelta(minutes=4)),
        ("after", NOON + timedelta(days=1), timedelta(seconds=1)),
        ("late", NOON + timedelta(days=1), timedelta(days=3)),
    ):
        record(at + received_after, task_id=task_id, status="running", timestamp=at.isoformat())

    assert found(admin_client, "task", query) == expected


@pytest.mark.parametrize("column", ["origin_instance", "origin_version"])
@pytest.mark.parametrize("most", [1, 500])
def test_what_is_under_each_value_of_another_column(
    admin_client: Client, monkeypatch: Any, column: str, most: int
) -> None:
    monkeypatch.setattr(linked_filters, "MAX_FIRST", most)
    for number, zone in enumerate(["a", "b", None]):
        record(task_id=f"t{number}", origin_zone=zone, task_type=f"type {number}", **{column: "this"})
    record(task_id="other", origin_zone="a", **{column: "that"})

    assert found(admin_client, "task", {column: "this"}) == {"t0", "t1", "t2"}
    assert found(admin_client, "task", {column: "\0"}) == set()


@not_on_citus("its plan of a few rows is another")
@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({"origin_instance": "this"}, "sartiq_task_zone"),
        ({"origin_version": "this"}, "sartiq_task_type"),
        ({"last_event_at": "2026-05-01"}, "sartiq_task_heard"),
    ],
)
def test_an_index_serves_it(admin_client: Client, query: dict[str, str], index: str) -> None:
    record(origin_zone="z", origin_instance="this", origin_version="this")
    answer: Any = admin_client.get("/admin/sartiq_tasks/task/", query)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_indexscan = off")
            # Which has the same times behind each meaning, and costs the same where there are few rows.
            cursor.execute("DROP INDEX sartiq_task_meaning")
    rows = answer.context["cl"].queryset.order_by().values("pk")

    assert index in rows.explain()


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/New_York"])
def test_today_and_yesterday_are_days_of_the_zone_that_is_named(
    admin_client: Client, settings: Any, zone: str
) -> None:
    settings.TIME_ZONE = zone
    midnight = datetime.combine(timezone.localdate(), time(), tzinfo=ZoneInfo(zone))
    for name, at in (
        ("today", midnight),
        ("yesterday's last", midnight - timedelta(seconds=1)),
        ("before", midnight - timedelta(hours=27)),
    ):
        record(at, task_id=name)

    assert found(admin_client, "task", {"last_received_at": "today"}) == {"today"}
    assert found(admin_client, "task", {"last_received_at": "yesterday"}) == {"yesterday's last"}
    assert (
        f'<p class="help">Times in {zone}</p>'
        in admin_client.get("/admin/sartiq_tasks/task/").content.decode()
    )


@pytest.mark.parametrize("model", ["task", "taskstatusevent"])
def test_the_form_of_a_range_holds_what_was_given_as_text(admin_client: Client, model: str) -> None:
    evil, name = '"><script>', {"task": "last_received_at", "taskstatusevent": "received_at"}[model]
    query = urlencode({"q": "a", "task_type": evil, f"{name}_from": evil, f"{name}_to": "2026-05-01T12:00"})
    html = admin_client.get(f"/admin/sartiq_tasks/{model}/?{query}").content.decode()

    assert evil not in html
    form = html[: html.index(f'id="st-{name}_from"')].rpartition("<form")[2]
    for kept, value in (("q", "a"), ("task_type", "&quot;&gt;&lt;script&gt;")):
        assert f'<input type="hidden" name="{kept}" value="{value}">' in form
    assert f'type="hidden" name="{name}' not in form
    assert f'id="st-{name}_from" name="{name}_from" value="&quot;&gt;&lt;script&gt;">' in html
    assert f'id="st-{name}_to" name="{name}_to" value="2026-05-01T12:00">' in html
