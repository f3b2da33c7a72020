"""Silent and lost tasks in the admin, and the decisions of staff about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tasks.admin import task_silence
from tasks.admin.addresses import task_url
from tasks.handlers import on_found, on_lost
from tasks.handlers.registry import declaring
from tasks.ledger.silence import mark_lost, notice
from tasks.models import Reaction, Silence, Task
from tests.factories import NOON, minutes, record, user

pytestmark = pytest.mark.django_db
LIST = reverse("admin:sartiq_tasks_task_changelist")
BUTTONS = {"ask_now": "Ask now", "mark_as_lost": "Mark as lost", "mark_as_not_lost": "Not lost"}


@pytest.fixture(autouse=True)
def probe(settings: Any) -> Iterator[None]:
    """There is a cluster to ask, and a handler for what is lost and found."""
    settings.SARTIQ_TASKS = {"PROBE_URL": "http://127.0.0.1:1/jobs"}
    with declaring():
        on_lost(name="lost")(lambda change: None)
        on_found(name="found")(lambda change: None)
        yield


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(user("view_task", *permissions, is_staff=True))
    return client


def task(task_id: str = "task-1") -> Task:
    return Task.objects.get(pk=task_id)


def page(client: Client, task_id: str = "task-1") -> str:
    return client.get(task_url(task_id)).content.decode()


def buttons(html: str) -> set[str]:
    return {name for name in BUTTONS if f'name="action" value="{name}"' in html}


def decide(client: Client, action: str, task_id: str = "task-1", **more: str) -> Any:
    url = f"{task_url(task_id).removesuffix('change/')}silence/"
    return client.post(url, {"action": action, **more}, follow=True)


@pytest.mark.parametrize(
    ("status", "lost", "offered"),
    [
        ("running", False, {"ask_now", "mark_as_lost"}),
        ("running", True, {"ask_now", "mark_as_not_lost"}),
        ("queued", False, set()),
        ("completed", False, set()),
    ],
)
def test_the_buttons(admin_client: Client, status: str, lost: bool, offered: set[str]) -> None:
    record(NOON, status=status)
    if lost:
        mark_lost(task())

    assert buttons(page(admin_client)) == offered


def test_a_task_that_is_heard_has_none(admin_client: Client) -> None:
    record()

    html = page(admin_client)
    assert buttons(html) == set()
    assert "Nothing was heard" not in html


def test_without_a_probe_nobody_is_asked(admin_client: Client, settings: Any) -> None:
    settings.SARTIQ_TASKS = {}
    record(NOON)

    assert buttons(page(admin_client)) == {"mark_as_lost"}


@pytest.mark.parametrize(
    ("permission", "offered"), [("ask_task", {"ask_now"}), ("mark_task_lost", {"mark_as_lost"})]
)
def test_each_needs_its_permission(permission: str, offered: set[str]) -> None:
    record(NOON)
    client = staff(permission)

    assert buttons(page(client)) == offered
    for action in BUTTONS:
        is_allowed = (action == "ask_now") == (permission == "ask_task")
        assert decide(client, action).status_code == (200 if is_allowed else 403)
    assert decide(Client(), "ask_now").redirect_chain, "to the login"
    without_view = Client()
    without_view.force_login(user(permission, is_staff=True))
    assert decide(without_view, next(iter(offered))).status_code == 403


def test_what_needs_a_decision_stands_before_the_facts(admin_client: Client) -> None:
    record(NOON)
    html = page(admin_client)

    assert html.index('class="st-note"') < html.index('value="ask_now"') < html.index('class="st-facts"')


def test_to_ask_now(admin_client: Client) -> None:
    record(NOON)
    answer = decide(admin_client, "ask_now")

    assert "asks about 1 task within seconds" in answer.content.decode()
    assert Silence.objects.due(timezone.now()).count() == 1
    assert LogEntry.objects.get().change_message == "Asked the cluster about it."


def test_to_mark_as_lost_and_back(admin_client: Client) -> None:
    record(NOON)
    question = decide(admin_client, "mark_as_lost").content.decode()
    assert "Their status stays as the sender reported it" in question
    assert not task().is_lost

    decide(admin_client, "mark_as_lost", confirmed="yes")
    assert task().is_lost
    assert "Marked as lost" in page(admin_client)
    assert decide(admin_client, "mark_as_not_lost", confirmed="yes").status_code == 200
    assert not task().is_lost
    logged = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert list(logged) == ["Marked as lost.", "Marked as not lost."]
    assert list(Reaction.objects.order_by("pk").values_list("handler", flat=True)) == ["lost", "found"]


def test_a_task_that_has_changed_meanwhile_is_left_alone(admin_client: Client) -> None:
    record(NOON)
    record(status="completed")

    html = decide(admin_client, "mark_as_lost", confirmed="yes").content.decode()
    assert "1 task was not changed: it has changed in the meantime" in html
    assert not task().is_lost
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("task_id", "action", "status"), [("task-1", "no such", 400), ("no such task", "ask_now", 404)]
)
def test_no_such_action_and_no_such_task(
    admin_client: Client, task_id: str, action: str, status: int
) -> None:
    record(NOON)

    assert decide(admin_client, action, task_id).status_code == status


@pytest.mark.parametrize("task_id", ["a/b", "", "..", "<b>", "ü ?&"])
def test_whatever_the_id(admin_client: Client, task_id: str) -> None:
    record(NOON, task_id=task_id)

    decide(admin_client, "mark_as_lost", task_id, confirmed="yes")
    assert task(task_id).is_lost


def test_what_was_asked_and_answered(admin_client: Client) -> None:
    record(NOON)
    notice(timezone.now())
    assert "Cluster last asked" not in page(admin_client)
    Silence.objects.update(
        asked_at=timezone.now(), answer="error", error="<b>no route</b>", failures=3, due_at=timezone.now()
    )
    html = page(admin_client)

    for words in ("Cluster last asked", "&lt;b&gt;no route", "Failed requests", "Next request was due at"):
        assert words in html
    assert "Such a task counts as silent after 15 min without an event." in html
    part = admin_client.get(f"{task_url('task-1').removesuffix('change/')}part/").content.decode()
    assert "&lt;b&gt;no route" in part


def test_the_report_of_an_ending_is_told_after_it(admin_client: Client) -> None:
    record(NOON)
    notice(timezone.now())
    Silence.objects.update(asked_at=timezone.now(), answer="report", due_at=None)
    record(status="completed")
    html = page(admin_client)

    assert "The cluster reported a new event" in html
    assert "Nothing was heard" not in html
    assert "Next request" not in html
    assert "Last event received" not in html


def test_a_silence_that_is_over_holds_nothing_back(admin_client: Client) -> None:
    record(NOON)
    notice(NOON + minutes(20))
    Silence.objects.update(judged_at=timezone.now())
    assert "has been held back since" in page(admin_client)
    record(NOON + minutes(30), progress=6)

    assert "has been held back since" not in page(admin_client)


def test_one_that_has_probably_ended(admin_client: Client) -> None:
    record(NOON, timestamp="2026-05-01T12:04:00Z")
    record(NOON + minutes(1), timestamp="2026-05-01T12:03:00Z", status="completed")

    assert "It has probably ended" in page(admin_client)


def test_the_list_shows_those_that_have_probably_ended(
    admin_client: Client, django_assert_num_queries: Any
) -> None:
    for task_id, status in (("t-ended", "completed"), ("t-runs", "running"), ("t-heard-since", "completed")):
        record(NOON, task_id=task_id, timestamp="2026-05-01T12:04:00Z")
        record(NOON + minutes(1), task_id=task_id, timestamp="2026-05-01T12:03:00Z", status=status)
    admin_client.get(f"{LIST}?silent=1")
    with django_assert_num_queries(6):  # one more than without a silent task
        assert "ended?" not in admin_client.get(f"{LIST}?silent=1").content.decode()
    notice(timezone.now())
    record(NOON + minutes(2), task_id="t-heard-since", timestamp="2026-05-01T12:05:00Z")

    with django_assert_num_queries(6):
        html = admin_client.get(f"{LIST}?silent=1").content.decode()
    assert html.count("ended?") == 1
    answer: Any = admin_client.get(f"{LIST}?silent=ended")
    assert [one.pk for one in answer.context["cl"].result_list] == ["t-ended"]
    mark_lost(task("t-ended"))
    answer = admin_client.get(f"{LIST}?silent=ended")
    assert [one.pk for one in answer.context["cl"].result_list] == ["t-ended"], "a lost one too"
    record(NOON + minutes(3), task_id="t-ended", timestamp="2026-05-01T12:06:00Z", status="completed")
    answer = admin_client.get(f"{LIST}?silent=ended")
    assert not answer.context["cl"].result_list


@pytest.mark.parametrize("query", ["silent=1", "silent=lost"])
def test_the_longest_silent_first(admin_client: Client, query: str) -> None:
    for number in (2, 1, 3):
        record(NOON + minutes(number), task_id=f"t-{number}")
        if query == "silent=lost":
            mark_lost(task(f"t-{number}"), at=NOON + minutes(60 - number))
    answer: Any = admin_client.get(f"{LIST}?{query}")

    assert [one.pk for one in answer.context["cl"].result_list] == ["t-1", "t-2", "t-3"]


def test_the_actions_are_in_the_lists_of_silent_and_lost_tasks_alone(admin_client: Client) -> None:
    record(NOON)

    assert "action-checkbox" not in admin_client.get(LIST).content.decode()
    assert "Mark as lost" in admin_client.get(f"{LIST}?silent=1").content.decode()
    assert "action-checkbox" not in staff().get(f"{LIST}?silent=1").content.decode()


def choose(client: Client, query: str, action: str, *task_ids: str, **more: str) -> Any:
    content = {"action": action, "_selected_action": list(task_ids), **more}
    return client.post(f"{LIST}?{query}", content, follow=True)


def test_nobody_is_offered_to_ask_a_cluster_that_cannot_be_asked(admin_client: Client, settings: Any) -> None:
    record(NOON)
    assert 'value="ask_now"' in admin_client.get(f"{LIST}?silent=1").content.decode()
    settings.SARTIQ_TASKS = {}

    html = admin_client.get(f"{LIST}?silent=1").content.decode()
    assert 'value="mark_as_lost"' in html
    assert 'value="ask_now"' not in html
    choose(admin_client, "silent=1", "ask_now", "task-1")
    assert not Silence.objects.due(timezone.now()).exists()


def test_many_at_once(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"t-{number}" for number in range(3)]
    for task_id in ids:
        record(NOON, task_id=task_id)
    question = choose(admin_client, "silent=1", "mark_as_lost", *ids).content.decode()
    assert all(task_id in question for task_id in ids)
    choose(admin_client, "silent=1", "mark_as_lost", *ids, confirmed="yes")
    assert Task.objects.lost().count() == 3
    Silence.objects.update(due_at=timezone.now() + minutes(9))
    choose(admin_client, "silent=lost", "ask_now", "t-0")
    assert [one.pk for one in Silence.objects.due(timezone.now())] == ["t-0"]

    monkeypatch.setattr(task_silence, "MAX_DECIDED", 2)
    choose(admin_client, "silent=lost", "ask_now", *ids)
    assert Silence.objects.due(timezone.now()).count() == 2
    choose(admin_client, "silent=lost", "mark_as_not_lost", *ids, confirmed="yes")
    assert Task.objects.lost().count() == 1


def test_lost_tasks_in_the_list_of_silent_ones_are_not_marked_again(admin_client: Client) -> None:
    for task_id in ("silent", "lost"):
        record(NOON, task_id=task_id)
    mark_lost(task("lost"))
    answer = choose(admin_client, "silent=1", "mark_as_lost", "silent", "lost")

    assert [one.pk for one in answer.context["objects"]] == ["silent"]


def test_the_page_of_a_silent_task_names_the_status_that_was_reported(admin_client: Client) -> None:
    record(NOON, status="preparing")
    record(timezone.now(), task_id="heard", status="preparing")
    told = '<dt>Status</dt><dd><span class="st-badge st-running" title="Running: preparing">'

    assert told in page(admin_client)
    assert told not in page(admin_client, "heard"), "its badge says so"
    mark_lost(task())
    assert told in page(admin_client)


def test_what_is_known_of_a_silent_task_in_order_of_time(admin_client: Client) -> None:
    now = timezone.now()
    record(now - minutes(19), status="running")
    notice(now)
    Silence.objects.update(asked_at=now - minutes(4), answer="alive", due_at=now + minutes(11))
    html = page(admin_client)

    assert re.search(r"Nothing was heard from it for 19 min[^.]*\.", html)
    assert "Such a task counts as silent after 15 min without an event." in html
    names = ("Last event received", "Cluster last asked", "Its answer", "Next request at")
    places = [html.index(f"<dt>{name}</dt>") for name in names]
    assert places == sorted(places)


def test_nothing_to_decide(admin_client: Client) -> None:
    record(NOON)

    html = choose(admin_client, "silent=1", "mark_as_not_lost", "task-1").content.decode()
    assert "Nothing was changed: the action applies to none of the selected tasks." in html
    assert choose(admin_client, "silent=1", "ask_now", "a\0b").status_code == 400
