"""The dashboard and a task's page."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tasks.admin import history, paginator, task
from tasks.admin.addresses import event_url, task_url
from tasks.admin.linked_filters import failure_value
from tasks.conf import COLUMN_LENGTH
from tasks.ledger.silence import mark_lost
from tasks.models import RejectedDelivery, Task
from tasks.ops.headline import alike, headline
from tests.databases import is_citus, more_on_citus
from tests.factories import NOON, minutes, record, rejected, user

pytestmark = pytest.mark.django_db
LIST = "/admin/sartiq_tasks/task/"
EVIL = '"><script>alert(1)</script>'


def page(client: Client, url: str = LIST) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def fact(html: str, name: str) -> str:
    (value,) = re.findall(f"<dt>{name}</dt><dd>(.*?)</dd>", html)
    return re.sub("<[^>]*>", "", value)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([(20, "queued")], "20 min"),
        ([(20, "queued"), (5, "running")], "15 min"),
        ([(20, "queued"), (18, "failed")], "2 min"),
        ([(20, "queued"), (18, "running"), (5, "done")], "2 min"),
        ([(20, "queued"), (18, "who knows")], "—"),
        ([(20, "running")], "—"),
        ([(20, "running"), (18, "queued")], "—"),
    ],
)
def test_how_long_it_was_queued_is_what_its_phases_tell(
    admin_client: Client, events: list[tuple[int, str]], told: str
) -> None:
    now = timezone.now()
    for ago, status in events:
        record(status=status, timestamp=(now - minutes(ago)).isoformat())
    html = page(admin_client, task_url("task-1"))

    assert re.sub(r"(\d) min \d\d s", r"\1 min", fact(html, "Queued for")) == told
    queued = re.findall(r"◷</span> queued</span> ([\d]+ min)", html)
    assert told in (*queued[:1], "—")


def test_a_task_that_failed_in_the_queue_took_as_long(admin_client: Client) -> None:
    for second, status in ((0, "queued"), (15, "failed")):
        at = NOON + timedelta(seconds=second)
        completed = {"completed_at": at.isoformat()} if second else {}
        record(at, status=status, timestamp=at.isoformat(), **completed)
    html = page(admin_client, task_url("task-1"))

    assert [fact(html, name) for name in ("Elapsed", "Queued for", "Started")] == ["15 s", "15 s", "—"]


def listed(html: str) -> list[str]:
    return re.findall(r'class="field-id_shown"><a href="[^"]*">(?:<span [^>]*>)?([^<]*)<', html)


def test_the_dashboard_tells_all_of_a_task(admin_client: Client) -> None:
    record(
        task_id="t-1",
        status="Crashed",
        progress=42.5,
        entity_id="e-1",
        origin_zone="z",
        origin_instance="i",
        error_message="boom\nmore",
        started_at="2026-05-01T12:00:00Z",
        completed_at="2026-05-01T13:02:00Z",
    )
    cells = dict(re.findall(r'<t[hd] class="field-(\w+)">(.*?)</t[hd]>', page(admin_client)))
    told = {name: re.sub("<[^>]*>", "", cell) for name, cell in cells.items()}

    assert re.fullmatch(r"\d+ s ago", told.pop("last_heard")), "on a busy machine more than 0"
    assert told.items() >= {
        "id_shown": "t-1", "status_badge": "✖ Crashed", "progress_shown": " 42.5 %", "type_shown": "training",
        "entity_shown": "e-1", "origin": "i / z", "elapsed": "1 h 02 min", "error": "boom",
    }.items()  # fmt: skip
    assert "st-failed" in cells["status_badge"]


def test_newest_activity_first_and_the_other_way_round(admin_client: Client) -> None:
    for minute, task_id in enumerate("abc"):
        record(NOON + minutes(minute), task_id=task_id)

    assert listed(page(admin_client)) == ["c", "b", "a"]
    assert listed(page(admin_client, f"{LIST}?o=6")) == ["a", "b", "c"]


def counts(html: str) -> dict[str, str]:
    return dict(re.findall(r'id="st-count-(\w+)".*?<strong>(\d+)</strong>', html))


def test_counts_are_links_to_the_filter(admin_client: Client) -> None:
    record(NOON, task_id="silent")
    record(task_id="heard")
    record(task_id="failed", status="failed")
    html = page(admin_client, f"{LIST}?meaning=running")

    assert counts(html) == {
        "queued": "0", "running": "2", "succeeded": "0", "failed": "1", "cancelled": "0", "other": "0",
        "silent": "1", "lost": "0",
    }  # fmt: skip
    assert re.search(r'st-running" href="\?" aria-current="true"', html), "the chosen one leads back"
    assert listed(page(admin_client, f"{LIST}?silent=1")) == ["silent"]


@pytest.mark.parametrize(
    ("query", "running", "failed", "silent"),
    [
        ("task_type=a", "1", "0", "0"),
        ("task_type=a&meaning=failed", "1", "0", "0"),
        ("task_type=b&silent=1", "1", "1", "1"),
        ("q=b-", "1", "1", "1"),
        ("last_received_at=1h", "1", "1", "0"),
        ("origin_instance=gpu-1", "1", "0", "0"),
        ("task_type=%00", "0", "0", "0"),
    ],
)
def test_counts_are_those_of_what_is_filtered_and_keep_it(
    admin_client: Client, query: str, running: str, failed: str, silent: str
) -> None:
    record(task_id="a-1", task_type="a", origin_instance="gpu-1")
    record(NOON, task_id="b-1", task_type="b")
    record(task_id="b-2", task_type="b", status="failed")
    html = page(admin_client, f"{LIST}?{query}")

    assert [counts(html)[name] for name in ("running", "failed", "silent")] == [running, failed, silent]
    (link,) = re.findall(r'st-succeeded" href="([^"]*)"', html)
    kept = [one for one in query.split("&") if not one.startswith(("meaning", "silent"))]
    assert all(one in link for one in kept)


def test_a_silent_task_looks_silent(admin_client: Client) -> None:
    record(NOON, task_id="task-1")
    record(task_id="heard")
    record(NOON, task_id="ended", status="failed")

    assert page(admin_client).count("st-badge st-silent") == 1
    assert 'title="Silent: running"' in page(admin_client, task_url("task-1"))
    for task_id in ("heard", "ended"):
        assert "st-badge st-silent" not in page(admin_client, task_url(task_id))


def test_a_lost_task_looks_lost_until_it_is_heard_of(admin_client: Client) -> None:
    record(NOON, task_id="task-1")
    record(NOON, task_id="silent")
    mark_lost(Task.objects.get(pk="task-1"))

    html = page(admin_client)
    assert html.count("st-badge st-lost") == html.count("st-badge st-silent") == 1
    assert counts(html)["lost"] == "1"
    assert listed(page(admin_client, f"{LIST}?silent=lost")) == ["task-1"]
    assert 'title="Lost: running"' in page(admin_client, task_url("task-1"))
    record(task_id="task-1", status="completed")
    assert "st-badge st-lost" not in page(admin_client)
    assert listed(page(admin_client, f"{LIST}?silent=lost")) == []


def test_the_filter_names_the_limit_if_there_is_one(admin_client: Client, settings: Any) -> None:
    record()
    assert "Silent for 15 min" in page(admin_client)
    settings.SARTIQ_TASKS = {"SILENT_AFTER": {"training": minutes(1), "*": None}}
    assert "Silent for" not in page(admin_client)
    settings.SARTIQ_TASKS = {"QUEUED_AFTER": minutes(30)}
    assert "Silent for" not in page(admin_client), "a queued task has another limit"


def test_the_list_tells_the_exception_of_a_traceback(admin_client: Client) -> None:
    frames = '  File "a.py", line 1, in f\n    g()\n' * 500
    record(
        status="failed", error_message=f"Traceback (most recent call last):\n{frames}ValueError: of {EVIL}"
    )

    assert "ValueError: of &quot;&gt;&lt;script&gt;" in page(admin_client)


def test_counts_and_pages_stop(admin_client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(paginator, "MAX_COUNT", 60)
    monkeypatch.setattr(task, "MAX_COUNT", 60)
    for number in range(62):
        record(task_id=f"t{number}")
    html = page(admin_client, f"{LIST}?p=2")

    assert "60+ tasks" in html
    assert "<strong>60+</strong>" in html
    assert len(listed(html)) == 10


def test_the_queries_of_the_dashboard(admin_client: Client, django_assert_num_queries: Any) -> None:
    for number in range(3):
        record(task_id=f"t{number}", error_message="boom", origin_zone="z")
    page(admin_client)

    # Session, user, counts, the choices of three filters in one, the rows, which fit on a page.
    with django_assert_num_queries(5 + more_on_citus(4)):
        page(admin_client, f"{LIST}?meaning=running")


@pytest.mark.parametrize("events", [1, 30])
def test_the_queries_of_a_page(admin_client: Client, django_assert_num_queries: Any, events: int) -> None:
    for number in range(events):
        record(progress=number, metadata={"loss": number})
    page(admin_client, task_url("task-1"))

    # Session, user, task, the events that are told, those that are drawn, their metadata, rejections.
    with django_assert_num_queries(7):
        page(admin_client, task_url("task-1"))


def test_a_page_names_its_rejected_deliveries(
    client: Client, django_assert_num_queries: Any, monkeypatch: Any
) -> None:
    may_see = user("view_task", "view_rejecteddelivery", is_staff=True)
    client.force_login(may_see)
    record(task_id="a b")
    rejected(b'{"task_id": "a"}')

    def told() -> str | None:
        found = re.search('id="st-rejected">(.*?)</p>', page(client, task_url("a b")))
        return None if found is None else found[1]

    assert told() is None
    rejected(b'{"task_id": "a b"}')
    url = "/admin/sartiq_tasks/rejecteddelivery/?named_task=a+b"
    assert told() == f'<a href="{url}">1 rejected delivery names this task</a> (open)'
    second = rejected(b'{"task_id": "a b", "status": 5}')
    RejectedDelivery.objects.filter(pk=second.pk).update(outcome="settled", settled_at=NOON)
    assert told() == f'<a href="{url}">2 rejected deliveries name this task</a> (1 open)'
    RejectedDelivery.objects.update(outcome="settled", settled_at=NOON)
    assert told() == f'<a href="{url}">2 rejected deliveries name this task</a>'
    monkeypatch.setattr("tasks.admin.task_facts.MAX_COUNT", 1)
    assert told() == f'<a href="{url}">1+ rejected deliveries name this task</a>'
    with CaptureQueriesContext(connection) as seen:
        told()
    with_them = len(seen)
    client.force_login(user("view_task", is_staff=True))
    assert told() is None
    with django_assert_num_queries(with_them - 1):
        told()


@pytest.mark.parametrize(
    "task_id", ["", " ", ".", "..", "_empty", "a/b", "a/change", "?#%&+", "ü\n\t", EVIL, "x" * 255]
)
def test_every_id_can_be_opened_from_the_list(admin_client: Client, task_id: str) -> None:
    record(task_id=task_id)
    (url,) = re.findall(r'class="field-id_shown"><a href="([^"]*)"', page(admin_client))
    response = admin_client.get(url)

    assert response.status_code == 200
    assert response.context["original"].pk == task_id
    assert reverse("admin:sartiq_tasks_task_changelist") in url
    assert not re.search(r"/\.{0,2}/", url)


def test_a_page_tells_everything(admin_client: Client) -> None:
    record(NOON, status="pending", progress=0, timestamp=NOON.isoformat())
    record(
        NOON,
        status="failed",
        progress=30,
        timestamp=(NOON + minutes(2)).isoformat(),
        error_message="boom\nmore",
        error_category="oom",
    )
    record(NOON, status="running", progress=10, timestamp=(NOON + minutes(1)).isoformat())
    record(NOON, status="running", progress=10, timestamp=(NOON + minutes(1)).isoformat())
    html = page(admin_client, task_url("task-1"))

    for text in (
        "boom\nmore", "Error: oom", "<svg", "status: pending → running", "progress: 10 % → 30 %",
        "delivered 2 times", "late: received 2026-05-01 12:00:00.000 UTC", "+1 min", "task_id=task-1",
    ):  # fmt: skip
        assert text in html
    assert "data-seconds" not in html


def test_a_tasks_page_marks_a_clock_that_is_ahead(admin_client: Client) -> None:
    record(NOON, timestamp=(NOON + minutes(60)).isoformat())

    assert "clock ahead" in page(admin_client, task_url("task-1"))


def test_a_running_task_refreshes_itself(admin_client: Client) -> None:
    record()

    assert 'data-seconds="5"' in page(admin_client, task_url("task-1"))


def test_the_plot_of_more_events_is_a_sample_and_no_phase_is_told(
    admin_client: Client, monkeypatch: Any, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(history, "MAX_WHOLE", 10)
    monkeypatch.setattr(history, "MAX_DRAWN", 9)
    record(NOON, task_id="another")
    for number in range(81):
        record(NOON + minutes(number), progress=number, status="queued" if number < 9 else "running")
    page(admin_client, task_url("task-1"))

    # Session, user, task, events, too many to draw, the ends of the sample, its ids, its events; and of a
    # silent task, what the watchdog knows of it, and what was received last; rejected deliveries.
    with django_assert_num_queries(11):
        html = page(admin_client, task_url("task-1"))

    (line,) = re.findall(r'<polyline points="([^"]*)"', html)
    # Where ids come from a clock, they are as far apart as the events are in time.
    evenly, drawn = ("0.0,120.0 ", r"\d") if is_citus() else ("0.0,120.0 80.0,108.0 160.0,96.0", "9")
    assert line.startswith(evenly), "it begins with the first event"
    assert line.endswith(" 640.0,24.0")
    assert re.search(f"Drawn from {drawn} of 81 events", html)
    assert "st-phases" not in html


def test_an_error_stands_first_and_once(admin_client: Client) -> None:
    error = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: bad'
    record(status="failed", error_message=error)
    html = page(admin_client, task_url("task-1"))

    assert html.index('<p class="st-headline">ValueError: bad</p>') < html.index("st-facts")
    assert html.count("Traceback (most recent call last)") == 1


def test_the_newest_event_stands_first(admin_client: Client) -> None:
    for number in range(3):
        record(NOON + minutes(number), progress=number)
    html = page(admin_client, task_url("task-1"))

    assert re.findall(r"progress: \d %", html) == ["progress: 1 %", "progress: 0 %"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("entity_id", "e & 1"), ("origin_zone", "z=1"), ("origin_instance", "gpu-7"),
        ("origin_version", "1.2+3"),
        ("task_type", "t?"), ("error_category", EVIL),
    ],
)  # fmt: skip
def test_each_value_of_a_page_leads_to_the_tasks_that_have_it(
    admin_client: Client, column: str, value: str
) -> None:
    record(task_id="one", **{column: value})
    record(task_id="same", **{column: value})
    record(task_id="other", **{column: "another"})
    html = page(admin_client, task_url("one"))
    (link,) = re.findall(rf'<a href="({LIST}\?{column}=[^"]*)"', html)

    assert set(listed(page(admin_client, link))) == {"one", "same"}


def test_no_such_task(admin_client: Client) -> None:
    assert admin_client.get(task_url("none")).status_code == 302


def test_sender_text_stays_text(admin_client: Client) -> None:
    fields = ("task_id", "status", "event_type", "task_type", "entity_id", "origin_zone", "error_message")
    record(**dict.fromkeys(fields, EVIL), error_category=EVIL)

    for url in (LIST, task_url(EVIL)):
        assert "<script>alert" not in page(admin_client, url)


def test_a_change_stays_text_too(admin_client: Client) -> None:
    fields = ("status", "event_type", "task_type", "entity_id", "origin_zone", "error_category")
    record(NOON)
    record(NOON + minutes(1), **dict.fromkeys(fields, EVIL), error_message=EVIL)
    html = page(admin_client, task_url("task-1"))

    assert "<script>alert" not in html
    assert (
        "<li>event type: training_status_update → &quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;</li>"
        in html
    )


def test_an_event_type_of_nothing_is_a_link_that_says_so(admin_client: Client) -> None:
    event = record(event_type=" ")

    assert f'<a href="{event_url(event.event_id)}">(blank)</a>' in page(admin_client, task_url("task-1"))


def test_the_view_permission_suffices_and_shows_no_more(client: Client) -> None:
    record()
    client.force_login(user("view_task", is_staff=True))
    html = page(client, task_url("task-1"))

    assert "taskstatusevent" not in html
    assert listed(page(client)) == ["task-1"]
    assert client.post(task_url("task-1"), {"task_id": "x"}).status_code == 403


def test_without_the_permission(client: Client) -> None:
    record()
    client.force_login(user(is_staff=True))

    for url in (LIST, f"{LIST}export.csv", task_url("task-1")):
        assert client.get(url).status_code == 403


def test_duration_by_what_is_known() -> None:
    now = timezone.now()
    record(NOON, status="running")
    assert Task.objects.get().duration(now) == now - NOON
    record(NOON + minutes(3), status="failed")
    assert Task.objects.get().duration(now) == minutes(3)


def test_silent_and_lost_tasks_are_counted_among_the_others(admin_client: Client) -> None:
    record(NOON)
    html = page(admin_client)

    assert re.search(
        r'Other <strong>0</strong></a></li>\s*<li><span[^>]*>of these:</span> <a id="st-count-silent"', html
    )


def test_the_instance_stands_before_the_zone(admin_client: Client) -> None:
    record(origin_instance="gpu-17", origin_zone="eu-1")

    assert ">gpu-17 / eu-1</span></td>" in page(admin_client)


def test_the_filter_by_failure_says_how_far_it_looks(admin_client: Client) -> None:
    html = page(admin_client, f"{LIST}?failure=boom")

    assert "<summary>Failure: <b>boom</b></summary>" in html
    assert "Only the 1,000 failed tasks of this category" in html


@pytest.mark.parametrize("category", ["c" * COLUMN_LENGTH, "two\nlines" * 10, None])
def test_the_filter_by_failure_finds_the_longest_kind(admin_client: Client, category: str | None) -> None:
    record(status="failed", error_category=category, error_message="x" * 1000, task_id="long")
    record(status="failed", error_category=category, error_message="y" * 1000)
    value = failure_value(category, alike(headline("x" * 1000)))

    assert listed(page(admin_client, f"{LIST}?{urlencode({'failure': value})}")) == ["long"]
    assert listed(page(admin_client, f"{LIST}?{urlencode({'failure': value + chr(0)})}")) == []
