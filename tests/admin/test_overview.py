"""The overview: what it tells, that each number leads to exactly its rows, and who may see it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tasks.admin import overview, overview_needs
from tasks.admin.overview_charts import charts
from tasks.admin.overview_figures import figures
from tasks.admin.overview_html import Lists, about
from tasks.admin.overview_needs import Need, handler_needs
from tasks.handlers import on_change
from tasks.handlers.registry import declaring
from tasks.handlers.standing import Standing
from tasks.ledger.silence import notice
from tasks.models import Overview, RejectedDelivery, Silence, Task, TaskStatusEvent
from tasks.ops import hours
from tests.databases import more_on_citus
from tests.factories import NOON, body, minutes, record, rejected, user

pytestmark = pytest.mark.django_db
OVERVIEW = "/admin/sartiq_tasks/overview/"
HOUR = timedelta(hours=1)
ONE_REJECTED = "1 delivery of the last 24 hours was rejected, and neither sent again nor settled."
TRACE = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'


@pytest.fixture(autouse=True)
def time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "BUDGET", timedelta(minutes=10))


def task(ago: timedelta, task_id: str, status: str, **changes: Any) -> None:
    record(timezone.now() - ago, task_id=task_id, status=status, **changes)


def failed(ago: timedelta, task_id: str, message: str | None = "boom", **changes: Any) -> None:
    task(ago, task_id, "failed", error_message=message, **changes)


def cluster() -> None:
    """Two weeks of a little of everything."""
    for number, days in enumerate((0, 0.1, 0.5, 0.9, 1.1, 2, 6, 12)):
        ago = timedelta(days=days)
        task(ago, f"done-{number}", "done", task_type="a b" if number % 2 else "training")
        failed(ago, f"failed-{number}", f"{TRACE}Error: {number}.5 GiB", error_category="memory")
        rejected(received_at=timezone.now() - ago, not_kept=number % 2)
    failed(HOUR, "without-category", "Error: 7.5 GiB", origin_zone="z", origin_instance="i")
    failed(2 * HOUR, "without-words", None)
    failed(2 * HOUR, "category-alone", None, error_category="node & lost")
    failed(3 * HOUR, "in-the-middle", f"{TRACE}Error: 1.5 GiB\n\n{TRACE}KeyError: 1", error_category="memory")
    task(2 * HOUR, "cancelled", "cancelled")
    task(timedelta(), "queued", "queued")
    task(timedelta(), "running", "running")
    task(HOUR, "silent", "running")
    task(timedelta(), "odd", "who knows")


def links(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield each number of the page that is a link: what it is, the number, the address."""
    for name, url, number in re.findall(
        r'<a id="st-tile-(\w+)"[^>]* href="([^"]*)".*?<strong>([\d,]+)</strong>', text
    ):
        yield name, int(number.replace(",", "")), unescape(url)
    for url, number, words in re.findall(r'<a href="([^"]*)" aria-label="[^"]*: (\d+) (\w+)"', text):
        yield words, int(number), unescape(url)
    for number, url in re.findall(r'<td class="st-number">(\d+)</td><th scope="row"><a href="([^"]*)"', text):
        yield "failure", int(number), unescape(url)
    for url, number in re.findall(r'<td class="st-number"><a href="([^"]*)">(\d+)</a>', text):
        yield "table", int(number), unescape(url)


def rows_of(client: Client, url: str) -> int:
    answer: Any = client.get(url)
    assert answer.status_code == 200, url
    return int(answer.context["cl"].result_count)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_every_number_leads_to_exactly_its_rows(admin_client: Client, settings: Any, zone: str) -> None:
    settings.TIME_ZONE = zone
    cluster()
    text = admin_client.get(OVERVIEW).content.decode()
    found = list(links(text))

    assert {name for name, *_ in found} == {
        "running", "queued", "silent", "other", "succeeded", "failed", "cancelled", "rejected", "failure",
        "table",
    }  # fmt: skip
    wrong = [
        (name, number, rows, url)
        for name, number, url in found
        for rows in [rows_of(admin_client, url)]
        # A bar of rejected deliveries also stands for those that were only counted.
        if rows != number and not (name == "rejected" and 0 < rows < number)
    ]
    assert wrong == []


def test_the_sums(admin_client: Client) -> None:
    cluster()
    context = admin_client.get(OVERVIEW).context

    tiles = {tile["name"]: tile["number"] for tile in context["tiles"]}
    assert tiles == {
        "running": "2", "queued": "1", "silent": "1", "other": "1", "succeeded": "4", "failed": "8",
        "cancelled": "1", "rejected": "4",
    }  # fmt: skip
    assert {(row["category"], row["line"], row["tasks"]) for row in context["failures"]} == {
        ("memory", "Error: # GiB", 4),
        (None, "Error: # GiB", 1),
        (None, "(no error message)", 1),
        ("node & lost", "(no error message)", 1),
        ("memory", "KeyError: 1", 1),
    }
    assert not context["has_more_failures"]
    assert [row["total"] for row in context["charts"][1]["rows"]] == ["8", "12", "12"]
    assert [(row["name"], row["rejected"], row["others"]) for row in context["senders"]] == [("tests", 4, 2)]


def test_it_is_first_in_the_list_of_the_app(admin_client: Client) -> None:
    (ours,) = [
        app for app in admin_client.get("/admin/").context["app_list"] if app["app_label"] == "sartiq_tasks"
    ]

    assert ours["models"][0]["admin_url"] == OVERVIEW
    assert ours["models"][0]["name"] == "Compute overview"


def test_the_start_page_of_the_project_leads_there(admin_client: Client) -> None:
    assert (
        f'href="{OVERVIEW}"'
        in admin_client.get("/admin/").content.decode().split('id="content"')[1].split("<table")[0]
    )


def test_a_viewer_of_tasks_sees_it_without_what_needs_other_permissions(client: Client) -> None:
    cluster()
    client.force_login(user("view_task", is_staff=True))
    answer = client.get(OVERVIEW)
    text = answer.content.decode()

    shown = text.split('id="st-overview"')[1]
    assert "1 task is silent" in shown
    assert "rejected" not in shown.lower()
    assert "only counted" not in shown
    assert not re.findall(r"(taskstatusevent|rejecteddelivery)/", shown)
    assert [one["name"] for one in answer.context["senders"]] == ["tests"]
    assert answer.context["handlers"] == []


def test_others_do_not_see_it(client: Client) -> None:
    client.force_login(user("view_taskstatusevent", is_staff=True))
    assert client.get(OVERVIEW).status_code == 403
    assert OVERVIEW not in client.get("/admin/").content.decode()
    client.logout()
    assert client.get(OVERVIEW).status_code == 302


def conclusion(client: Client) -> list[str]:
    return [need.text for need in client.get(OVERVIEW).context["needs"]]


def test_all_is_well(admin_client: Client) -> None:
    task(HOUR, "done", "done")
    task(timedelta(), "runs", "running")
    text = admin_client.get(OVERVIEW).content.decode()

    assert "All is well" in text
    assert conclusion(admin_client) == []


def test_a_new_ledger(admin_client: Client) -> None:
    assert conclusion(admin_client) == ["No sender has sent anything yet."]


def test_silent_tasks_need_somebody(admin_client: Client) -> None:
    task(minutes(16), "silent", "running")
    task(minutes(14), "speaks", "running")

    assert conclusion(admin_client) == ["1 task is silent: it has sent nothing for longer than it should."]
    assert [one["is_silent"] for one in admin_client.get(OVERVIEW).context["senders"]] == [False]


def test_if_every_sender_is_silent_it_is_hardly_the_tasks(admin_client: Client, settings: Any) -> None:
    task(minutes(20), "first", "running")
    task(minutes(16.2), "second", "running")
    told = "No sender has sent anything for 16 min: the link or the senders may be down. 2 tasks are silent."

    assert conclusion(admin_client) == [told]
    assert [one["is_silent"] for one in admin_client.get(OVERVIEW).context["senders"]] == [True]
    settings.SARTIQ_TASKS = {"SILENT_AFTER": {"*": None, "training": timedelta(minutes=19)}}
    assert conclusion(admin_client) == ["1 task is silent: it has sent nothing for longer than it should."]
    settings.SARTIQ_TASKS = {"SILENT_AFTER": None, "QUEUED_AFTER": timedelta(minutes=10)}
    assert conclusion(admin_client) == [], "nothing queued"
    TaskStatusEvent.objects.update(source="first of two")
    task(minutes(1), "third", "running")
    settings.SARTIQ_TASKS = {}
    context = admin_client.get(OVERVIEW).context
    assert [need.text[:18] for need in context["needs"]] == ["2 tasks are silent"]
    silent = [(one["name"], one["is_silent"]) for one in context["senders"]]
    assert silent == [("tests", False), ("first of two", True)]


def test_without_a_limit_no_sender_is_silent(admin_client: Client, settings: Any) -> None:
    task(HOUR, "runs", "running")
    settings.SARTIQ_TASKS = {"SILENT_AFTER": None}

    assert conclusion(admin_client) == []


def notes(client: Client) -> dict[str, str]:
    return {tile["name"]: tile["note"] for tile in client.get(OVERVIEW).context["tiles"]}


def test_silent_tasks_are_told_as_a_part(admin_client: Client, settings: Any) -> None:
    task(minutes(16), "silent", "running")
    assert notes(admin_client)["silent"] == "of the running"
    settings.SARTIQ_TASKS = {"QUEUED_AFTER": timedelta(hours=1)}
    assert notes(admin_client)["silent"] == "of the running and queued"


def test_the_longest_queued_is_told_by_its_events(admin_client: Client) -> None:
    now = timezone.now()
    for task_id, statuses in (
        ("fresh", {4: "queued"}),
        ("again", {40: "queued", 30: "running", 10.2: "queued"}),
    ):
        for ago, status in statuses.items():
            at = now - minutes(ago)
            record(now, task_id=task_id, status=status, timestamp=at.isoformat())
    assert notes(admin_client)["queued"] == "oldest: 10 min", "not since it was first queued"
    assert "2 tasks are queued, the oldest for 10 min." in admin_client.get(OVERVIEW).content.decode()
    assert conclusion(admin_client) == [], "that alarms nobody"

    record(now, task_id="first", status="queued", timestamp=(now - minutes(20.2)).isoformat())
    assert notes(admin_client)["queued"] == "oldest: 20 min"


def test_a_queue_of_one_and_of_none(admin_client: Client) -> None:
    record(status="running")
    assert admin_client.get(OVERVIEW).context["queue"] == ""
    at = timezone.now() - 3 * HOUR
    record(task_id="q", status="queued", timestamp=at.isoformat())
    assert admin_client.get(OVERVIEW).context["queue"] == "1 task is queued, for 3.0 h."


def test_failures_are_told_by_the_time_at_which_they_happened(admin_client: Client) -> None:
    for number, hours_ago in enumerate((5, 3)):
        at = timezone.now() - hours_ago * HOUR - minutes(1)
        failed(timedelta(), f"failed-{number}", timestamp=at.isoformat())
    (row,) = admin_client.get(OVERVIEW).context["failures"]

    assert [re.sub("<[^>]*>", "", row[name]) for name in ("since", "last")] == ["5 h ago", "3 h ago"]


def test_a_failure_of_long_ago_that_is_received_today_is_new(admin_client: Client) -> None:
    for number in range(30):
        task(timedelta(days=2), f"done-{number}", "done")
    failed(HOUR, "late", "unheard of", timestamp=(timezone.now() - timedelta(days=5)).isoformat())

    assert conclusion(admin_client) == ["A new failure: “unheard of”, 1 task."]


def usual(client: Client) -> tuple[str, bool]:
    """Return what is said of failures that need nobody, and whether their tile is calm."""
    context = client.get(OVERVIEW).context
    return context["usual"], next(tile["is_calm"] for tile in context["tiles"] if tile["name"] == "failed")


def test_failures_that_need_nobody_are_said_to(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    task(HOUR, "done", "done")
    assert usual(admin_client) == ("", True)
    failed(timedelta(), "failed")
    assert usual(admin_client) == (
        "50 % of the tasks failed. There is no week before to compare that with.", True
    )  # fmt: skip
    failed(timedelta(days=3), "before")
    task(timedelta(days=3), "done-before", "done")
    Overview.objects.all().delete()
    assert usual(admin_client) == (
        "No more tasks fail than usual: 50 %, and 50 % in the week before.", True
    )  # fmt: skip
    failed(timedelta(), "new", "unheard of")
    assert usual(admin_client) == ("", False)
    Overview.objects.all().delete()
    monkeypatch.setattr(overview, "BUDGET", timedelta())
    assert usual(admin_client) == ("", True), "not all is counted"


def test_a_rejection_that_was_accepted_since_is_calm(admin_client: Client) -> None:
    record()
    kept = rejected()

    def is_calm() -> bool:
        tiles = admin_client.get(OVERVIEW).context["tiles"]
        return bool(next(tile["is_calm"] for tile in tiles if tile["name"] == "rejected"))

    assert not is_calm()
    RejectedDelivery.objects.filter(pk=kept.pk).update(outcome="settled", settled_at=timezone.now())
    assert is_calm()


def test_each_row_of_a_chart_names_its_highest_bar(admin_client: Client) -> None:
    for number, ago in enumerate((0, 0, 3, 26)):
        failed(ago * HOUR, f"failed-{number}")
    charts = admin_client.get(OVERVIEW).context["charts"]

    assert [(row["total"], row["most"]) for row in charts[0]["rows"]] == [("0", ""), ("3", "2"), ("0", "")]
    assert charts[1]["rows"][1]["total"] == "4"


@pytest.mark.parametrize("hour", range(24))
def test_the_current_hour_is_named(hour: int) -> None:
    now = datetime(2026, 5, 1, hour, 30, tzinfo=UTC)
    live: Any = {
        "last_events": {}, "standing": {}, "still_rejected": None, "handlers": [], "silence_limit": None
    }  # fmt: skip
    told = figures(hours.Counted({}, {}, 0), now, **live)
    lists = Lists("admin", {"rejecteddelivery": False})
    ticks = re.findall("<span>(.*?)</span>", charts(told, lists)[0]["ticks"])

    assert ticks[-1] == f"<b>{hour:02}</b>"
    assert ticks[-2] == "", "there is no room for two"
    assert len([tick for tick in ticks if tick]) in (8, 9)


START = "/admin/"


def started(client: Client) -> list[str] | None:
    """Return what the start page says needs somebody."""
    needs = client.get(START).context.get("needs")
    return None if needs is None else [need.text for need in needs]


def test_the_start_page_says_the_same(admin_client: Client) -> None:
    assert started(admin_client) == conclusion(admin_client) == ["No sender has sent anything yet."]
    task(HOUR, "done", "done")
    assert started(admin_client) == conclusion(admin_client) == []
    assert "All is well" in admin_client.get(START).content.decode()
    rejected()
    assert started(admin_client) == conclusion(admin_client) == [ONE_REJECTED]
    cluster()
    assert len(started(admin_client) or []) == 5
    assert started(admin_client) == conclusion(admin_client)
    assert "5 things need you" in admin_client.get(START).content.decode()


def test_the_start_page_tells_who_may_see_tasks_alone(client: Client) -> None:
    task(HOUR, "silent", "running")
    rejected()
    client.force_login(user("view_task", is_staff=True))
    assert len(started(client) or []) == 1, "not what was rejected"
    client.force_login(user("view_taskstatusevent", is_staff=True))
    assert started(client) is None


def test_the_start_page_asks_once_if_all_is_well(admin_client: Client) -> None:
    def asked() -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            admin_client.get(START)
        return [one["sql"] for one in queries if "sartiq_tasks_" in one["sql"]]

    task(HOUR, "done", "done")
    assert len(asked()) == 1
    failed(HOUR, "failed")
    assert len(asked()) > 1


def test_the_start_page_tells_what_is_wrong_with_a_handler(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(timezone.now(), status="done")
    given = Standing(
        "h", pending=0, dead=1, oldest=None, is_declared=True, paused_at=None, seen_at=timezone.now()
    )
    monkeypatch.setattr(overview, "declared", lambda: [1])
    monkeypatch.setattr(overview, "standings", lambda: [given])

    assert started(admin_client) == ["The handler h gave up on 1 reaction."]


def test_tasks_that_are_held_back_need_somebody(admin_client: Client) -> None:
    for number in range(2):
        task(HOUR, f"silent-{number}", "running")
    notice(timezone.now())
    Silence.objects.filter(pk="silent-0").update(judged_at=timezone.now() - minutes(2))
    Silence.objects.filter(pk="silent-1").update(judged_at=timezone.now())
    told = "1 task is not marked as lost yet: no task is heard from, or too many would be marked."

    assert told in conclusion(admin_client), "the other one is marked in a moment"
    answer: Any = admin_client.get("/admin/sartiq_tasks/task/?silent=held")
    assert [one.pk for one in answer.context["cl"].result_list] == ["silent-0"]
    task(minutes(1), "silent-0", "running", progress=6)
    assert told not in conclusion(admin_client)


def test_a_watchdog_that_is_behind_needs_somebody(admin_client: Client, settings: Any) -> None:
    task(HOUR, "silent", "running")
    notice(timezone.now())
    told = "The watchdog is behind with 1 task. Is run_handlers running?"
    for due, setting, is_behind in [
        (minutes(6), {"PROBE_URL": "http://cluster/jobs"}, True),
        (minutes(6), {"LOST_AFTER": HOUR}, True),
        (minutes(4), {"PROBE_URL": "http://cluster/jobs"}, False),
        (minutes(6), {}, False),  # nobody looks, and nobody is meant to
    ]:
        Silence.objects.update(due_at=timezone.now() - due)
        settings.SARTIQ_TASKS = setting
        assert (told in conclusion(admin_client)) is is_behind
    task(minutes(1), "silent", "done")
    settings.SARTIQ_TASKS = {"LOST_AFTER": HOUR}
    Silence.objects.update(due_at=timezone.now() - minutes(6))
    assert told in admin_client.get("/admin/").content.decode(), "the start page tells it, too"


def test_lost_tasks_need_somebody(admin_client: Client) -> None:
    task(HOUR, "lost", "running")
    Task.objects.update(lost_at=timezone.now(), lost_events=1)

    assert "1 task is marked as lost." in conclusion(admin_client)
    assert "of the running; 1 lost" in admin_client.get(OVERVIEW).content.decode()


def test_a_higher_rate_of_failures_needs_somebody(admin_client: Client) -> None:
    for number in range(40):
        task(timedelta(days=3), f"usual-{number}", "failed" if number < 4 else "done", error_message=None)
    for number in range(5):
        task(HOUR, f"done-{number}", "done")
    for number in range(4):
        failed(timedelta(), f"failed-{number}", None)
    assert conclusion(admin_client) == [], "four of nine may be chance"
    failed(timedelta(), "failed-5", None)

    assert conclusion(admin_client) == [
        "50 % of the tasks failed in the last 24 hours, 10 % in the week before."
    ]


def test_a_new_kind_of_failure_needs_somebody(admin_client: Client) -> None:
    failed(timedelta(days=2), "old", "known 1.5")
    for number in range(30):
        task(timedelta(days=2), f"done-{number}", "done" if number else "failed")
    failed(HOUR, "again", "known 2.5")
    failed(HOUR, "new", f"{TRACE}Unheard: <of>")

    assert conclusion(admin_client) == ["A new failure: “Unheard: <of>”, 1 task."]
    assert "Unheard: &lt;of&gt;" in admin_client.get(OVERVIEW).content.decode()


def test_rejected_deliveries_need_somebody_until_they_are_accepted(admin_client: Client) -> None:
    record()
    rejected(received_at=timezone.now() - 25 * HOUR)
    rejected(outcome="tried", settled_at=timezone.now())
    rejected()

    assert conclusion(admin_client) == [ONE_REJECTED]


def test_a_delivery_that_was_sent_again_needs_nobody(admin_client: Client) -> None:
    sent_again, not_yet = rejected(), rejected(json.dumps(body(task_id="t2", progress=101)).encode())
    record()
    noting, noted = (queries_that_conclude(admin_client, ONE_REJECTED) for _look in range(2))

    assert {one.pk: one.outcome for one in RejectedDelivery.objects.all()} == {
        sent_again.pk: "sent", not_yet.pk: "open",
    }  # fmt: skip
    answer: Any = admin_client.get(str(only_need(admin_client).url))
    assert [one.pk for one in answer.context["cl"].result_list] == [not_yet.pk]
    record(task_id="t2")
    queries_that_conclude(admin_client)
    none_open = queries_that_conclude(admin_client)
    assert noted == none_open, "whether one was sent again is in the query of the counts"
    assert noting - noted == 5, "one is noted, in a transaction, and the others are counted again"


def only_need(client: Client) -> Need:
    found: Any = client.get(OVERVIEW).context["needs"]
    (need,) = found
    assert isinstance(need, Need)
    return need


def queries_that_conclude(client: Client, *expected: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert conclusion(client) == list(expected)
    return len(queries)


def test_a_flood_of_open_ones_is_not_counted_beyond_the_cap(admin_client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(overview, "MAX_COUNT", 1)
    monkeypatch.setattr(overview_needs, "MAX_COUNT", 1)
    for number in range(4):
        rejected(json.dumps(body(task_id=f"t{number}", progress=101)).encode())
    record(task_id="t0")

    assert conclusion(admin_client) == [
        "1+ deliveries of the last 24 hours were rejected, and neither sent again nor settled."
    ]


def test_handlers_are_told_where_there_are_any(admin_client: Client) -> None:
    record()
    with declaring():
        assert "st-handlers" not in admin_client.get(OVERVIEW).content.decode()

        @on_change(to="failed", name="shop.refund")
        def refund(change: Any) -> None:
            """Never called."""

        failed(timedelta(), "broken")
        answer = admin_client.get(OVERVIEW)
    told = [(one["name"], one["pending"], one["dead"]) for one in answer.context["handlers"]]
    assert told == [("shop.refund", "1", "0")]
    assert "No worker serves the handler shop.refund." in [need.text for need in answer.context["needs"]]
    urls = re.findall(r'href="(/admin/sartiq_tasks/reaction/\?[^"]*)"', answer.content.decode())
    assert [rows_of(admin_client, unescape(url)) for url in urls] == [1, 0]


def test_one_need_if_no_worker_serves_several_handlers() -> None:
    now = timezone.now()
    common: Any = {
        "pending": 1, "dead": 0, "oldest": now - minutes(6), "paused_at": None, "is_declared": True
    }  # fmt: skip
    handlers = [
        Standing(name=name, seen_at=seen, **common) for name, seen in (("a", None), ("b", None), ("c", now))
    ]
    told = handler_needs(handlers, now, Lists("admin", {"reaction": True}))

    assert [need.text for need in told] == [
        "No worker serves 2 handlers. Is run_handlers running?",
        "The handler c is late.",
    ], "nor are those late for another reason"


@pytest.mark.parametrize(
    ("changes", "text", "where"),
    [
        ({"dead": 1}, "The handler h gave up on 1 reaction.", "reaction/?handler=h&state=dead"),
        ({"dead": 20_000}, "The handler h gave up on 10000+ reactions.", "reaction/?handler=h&state=dead"),
        ({"seen_at": None}, "No worker serves the handler h.", "handler/"),
        ({"late": 6}, "The handler h is late.", "handler/"),
        (
            {"is_declared": False, "pending": 1},
            "Reactions wait for the handler h, which no app declares.", "handler/",
        ),
        ({"paused": True, "late": 6}, "The handler h is paused.", "handler/"),
        ({}, None, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("may_see", [True, False])
def test_what_is_wrong_with_a_handler(
    monkeypatch: pytest.MonkeyPatch,
    client: Client,
    changes: dict[str, Any],
    text: str | None,
    where: str | None,
    may_see: bool,
) -> None:
    now = timezone.now()
    late, paused = changes.get("late"), "paused" in changes
    given = {
        "name": "h", "pending": 0, "dead": 0, "oldest": late and now - minutes(late), "is_declared": True,
        "paused_at": now if paused else None, "seen_at": now,
        **{name: value for name, value in changes.items() if name not in ("late", "paused")},
    }  # fmt: skip
    monkeypatch.setattr(overview, "declared", lambda: [1])
    monkeypatch.setattr(overview, "standings", lambda: [Standing(**given)])
    record(now, status="done")
    client.force_login(
        user("view_task", "view_handler", *(["view_reaction"] if may_see else []), is_staff=True)
    )
    needs = client.get(OVERVIEW).context["needs"]

    assert [need.text for need in needs] == ([] if text is None else [text])
    url = f"/admin/sartiq_tasks/{where}"
    if text:
        assert needs[0].url == (None if "reaction" in url and not may_see else url)


def test_without_time_it_says_what_is_still_to_be_counted(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "BUDGET", timedelta())
    task(timedelta(days=5), "old", "done")
    first = admin_client.get(OVERVIEW)

    assert first.context["missing"] > 24
    assert "not counted yet" in first.content.decode()
    assert "in the hours counted so far" in first.content.decode()
    for _ in range(6):
        last = admin_client.get(OVERVIEW)
    assert last.context["missing"] == 0
    assert "All is well" in last.content.decode()


def test_the_page_changes_nothing_of_what_is_kept_for_the_next() -> None:
    cluster()
    now = timezone.now()
    for _ in range(3):  # the third one reads what the second one read
        counted = hours.counted_hours(now, budget=timedelta(minutes=10))
    before = deepcopy((counted.hours, counted.details))
    of_day = counted.details_within(hours.hour_of(now) - 23 * HOUR, hours.hour_of(now) + HOUR)
    assert any(one["failures"] for one in of_day)

    figures(
        counted,
        now,
        standing={},
        last_events={"cluster": now},
        still_rejected=0,
        handlers=(),
        silence_limit=None,
    )
    assert (counted.hours, counted.details) == before


def test_the_number_of_queries_does_not_grow(admin_client: Client) -> None:
    cluster()
    admin_client.get(OVERVIEW)
    with CaptureQueriesContext(connection) as few:
        admin_client.get(OVERVIEW)
    for number in range(20):
        failed(minutes(number), f"more-{number}", f"error {number}", task_type=f"type-{number}")
    with CaptureQueriesContext(connection) as more:
        admin_client.get(OVERVIEW)

    assert len(more) == len(few) <= 11 + more_on_citus(4)


def test_nothing_inline(admin_client: Client) -> None:
    cluster()
    html = admin_client.get(OVERVIEW).content.decode()

    scripts = re.findall(r"<script[^>]*>", html)
    assert scripts
    assert all(" src=" in tag for tag in scripts)
    assert not re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html)


@pytest.mark.parametrize("value", ["", "\n", "#", "boom", "\0", "no\nsuch", "x" * 300, "%", "1.5"])
def test_any_failure_can_be_asked_for(admin_client: Client, value: str) -> None:
    failed(HOUR, "a")
    answer: Any = admin_client.get("/admin/sartiq_tasks/task/", {"failure": value})

    assert answer.status_code == 200
    assert answer.context["cl"].result_count == (value == "boom")


def test_a_failure_is_named_in_the_bar(admin_client: Client) -> None:
    text = admin_client.get("/admin/sartiq_tasks/task/", {"failure": "memory\nError: <b>"}).content.decode()

    assert "<b>memory: Error: &lt;b&gt;</b>" in text


def test_the_events_of_a_source(admin_client: Client) -> None:
    record(task_id="1")
    TaskStatusEvent.objects.update(source="one & only")
    record(task_id="2")
    answer: Any = admin_client.get("/admin/sartiq_tasks/taskstatusevent/", {"source": "one & only"})

    assert [event.task_id for event in answer.context["cl"].result_list] == ["1"]


@pytest.mark.usefixtures("each_layout")
def test_the_last_event_of_each_source() -> None:
    assert TaskStatusEvent.objects.last_of_each_source() == {}
    record(NOON, task_id="1")
    record(NOON + minutes(1), task_id="1", progress=50)
    TaskStatusEvent.objects.update(source="one & only")
    record(NOON + minutes(2), task_id="2")

    assert TaskStatusEvent.objects.last_of_each_source() == {
        "one & only": NOON + minutes(1), "tests": NOON + minutes(2)
    }  # fmt: skip


def test_an_hour_that_comes_twice_is_told_by_its_offset(admin_client: Client, settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 in summer, and an hour later again
    record(first, task_id="summer", status="failed")
    record(first + HOUR, task_id="winter", status="failed")
    filters = {
        "last_received_at_from": "2026-10-25T02:00+01:00",
        "last_received_at_to": "2026-10-25T02:59+01:00",
    }
    answer: Any = admin_client.get("/admin/sartiq_tasks/task/", filters)

    assert [task.pk for task in answer.context["cl"].result_list] == ["winter"]


def test_how_long_tasks_took(admin_client: Client) -> None:
    for number in range(3):
        for minute, status in ((30, "queued"), (29, "running"), (9, "done")):
            at = timezone.now() - minutes(minute)
            record(at, task_id=f"t-{number}", status=status, timestamp=at.isoformat())
    (row,) = admin_client.get(OVERVIEW).context["types"]

    assert (row["ended"], row["failed"], row["waited"]) == (3, 0, ["1.0 min", "1.0 min"])
    assert row["ran"] == ["19 min", "19 min"], "twenty, within five per cent"


def test_a_task_that_ends_while_it_is_counted() -> None:
    now = timezone.now()
    told = {"ended": [], "failures": [], "rejected": [], "lengths": [["new", "ran", [[10, 1]]]]}
    hour = hours.hour_of(now)
    counted = hours.Counted({hour: hours.summary(told)}, {hour: told}, 0)
    live: Any = {
        "last_events": {}, "standing": {}, "still_rejected": None, "handlers": [], "silence_limit": None
    }  # fmt: skip

    assert [one.name for one in figures(counted, now, **live).types] == ["new"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1, "0.0 s"), (0.25, "0.2 s"), (9.96, "10 s"), (59, "59 s"), (61, "1.0 min"), (5400, "1.5 h"),
        (86_400 * 2.3, "2.3 d"), (86_400 * 400, "400 d"),
    ],
)  # fmt: skip
def test_about_how_long(seconds: float, told: str) -> None:
    assert about(timedelta(seconds=seconds)) == told


def test_more_kinds_of_failure_than_are_shown_lead_to_all(admin_client: Client) -> None:
    for number in range(9):
        failed(minutes(number), f"f-{number}", "abcdefghi"[number])
    answer = admin_client.get(OVERVIEW)
    (url,) = re.findall(r'<a href="([^"]*)">All 9 tasks that failed</a>', answer.content.decode())

    assert len(answer.context["failures"]) == 6
    assert rows_of(admin_client, unescape(url)) == 9


def test_more_places_than_are_named_are_counted(admin_client: Client) -> None:
    of_one_hour = hours.hour_of(timezone.now())
    for number in (4, 3, 2, 1, 0):
        of_one_hour += timedelta(microseconds=1)
        task_id, zone = f"f-{number}", f"zone-{number}"
        record(of_one_hour, task_id=task_id, status="failed", error_message="boom", origin_zone=zone)
    context = admin_client.get(OVERVIEW).context

    assert context["failures"][0]["places"] == "zone-0, zone-1, zone-2 and 2 more"
    assert Task.objects.count() == 5
