"""Reactions in the admin, and the decisions of staff about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tasks.admin import reaction
from tasks.handlers import Change, on_change, on_event
from tasks.handlers.control import pause
from tasks.handlers.registry import declaring
from tasks.models import Reaction, TaskStatusEvent
from tasks.testing import Handlers
from tests.cluster import not_on_citus
from tests.factories import record, user

pytestmark = pytest.mark.django_db
LIST = reverse("admin:sartiq_tasks_reaction_changelist")
DAY = timedelta(days=1)
EVIL = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def shop() -> Iterator[None]:
    """Two handlers: one whose every call fails, and one that is called for each event."""
    with declaring():

        @on_change(to="failed", name="refund", attempts=3)
        def refund(change: Change) -> None:
            raise ValueError(f"no account {EVIL}")

        @on_event(name="keep")
        def keep(change: Change) -> None:
            pass

        yield


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(user("view_reaction", *permissions, is_staff=True))
    return client


@pytest.fixture
def decider() -> Client:
    return staff("decide_reaction")


@pytest.fixture
def dead() -> Reaction:
    """A dead reaction, beside a done one."""
    record(task_id="t-1", status="running")
    record(task_id="t-1", status="failed")
    Handlers().run()
    found = Reaction.objects.get(handler="refund")
    Reaction.objects.filter(pk=found.pk).update(state="dead", attempts=3, ended_at=timezone.now())
    found.refresh_from_db()
    return found


def page_of(one: Reaction) -> str:
    return reverse("admin:sartiq_tasks_reaction_change", args=[one.pk])


def listed(client: Client, **query: str) -> list[tuple[str, str]]:
    answer: Any = client.get(f"{LIST}?{urlencode(query)}")
    assert answer.status_code == 200
    return [(row.handler, row.task_id) for row in answer.context["cl"].result_list]


def row_of(handler: str, html: str) -> str:
    return next(part for part in html.split("<tr>") if f'/change/">{handler}</a>' in part)


def test_the_list_tells_all_of_a_reaction(dead: Reaction) -> None:
    html = staff().get(LIST).content.decode()
    row = row_of("refund", html)

    assert f'<a href="{page_of(dead)}">refund</a>' in row
    for text in ("/task/t-1/change/", "running → failed", "st-failed", "Dead", "3 of 3"):
        assert text in row
    assert "ValueError: no account &lt;script&gt;" in row
    assert "ago<" in row
    assert EVIL not in html


@pytest.mark.parametrize(
    ("columns", "badge", "told"),
    [
        ({}, "Pending", "due for"),
        ({"due_at": timedelta(minutes=5)}, "Pending", r"in 4 min"),
        ({"due_at": timedelta(minutes=5), "started_at": timedelta()}, "Running", "now"),
        ({"due_at": -timedelta(minutes=5), "started_at": -DAY}, "Pending", "due for 5 min"),
        ({"state": "done"}, "Done", "—"),
        ({"state": "skipped"}, "Given up by a person", "—"),
    ],
)
def test_its_state_and_next_attempt(columns: dict[str, Any], badge: str, told: str) -> None:
    record(status="failed")
    now = timezone.now()
    moved = {name: now + one if isinstance(one, timedelta) else one for name, one in columns.items()}
    Reaction.objects.filter(handler="refund").update(**moved)
    row = row_of("refund", staff().get(LIST).content.decode())

    assert f"</span> {badge}</span>" in row
    assert re.search(rf'field-next_attempt">(<time [^>]*>)?{told}', row)


def test_an_event_that_changes_no_status_and_a_handler_that_is_gone() -> None:
    record(status="running", progress=1)
    record(status="running", progress=2)
    Reaction.objects.filter(seq=2).update(handler="gone", attempts=2)
    row = row_of("gone", staff().get(LIST).content.decode())

    assert 'field-change_shown">running<' in row
    assert 'field-attempts_shown">2<' in row


@pytest.mark.parametrize(("kind", "told"), [("lost", "marked as lost"), ("found", "heard from again")])
def test_a_reaction_to_silence(kind: str, told: str) -> None:
    record(status="running")
    Reaction.objects.update(kind=kind)

    assert told in row_of("keep", staff().get(LIST).content.decode())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [("refund", "b"), ("keep", "b"), ("keep", "a")]),
        ({"state": "pending"}, [("refund", "b"), ("keep", "b")]),
        ({"state": "done"}, [("keep", "a")]),
        ({"state": "x"}, []),
        ({"state": "\0"}, []),
        ({"handler": "keep"}, [("keep", "b"), ("keep", "a")]),
        ({"handler": "keep", "state": "pending"}, [("keep", "b")]),
        ({"handler": "none"}, []),
        ({"handler": "\0"}, []),
        ({"kind": "change"}, [("refund", "b")]),
        ({"kind": "x"}, []),
        ({"created_at": "1h"}, [("refund", "b"), ("keep", "b")]),
        ({"task_id": "a"}, [("keep", "a")]),
        ({"q": "b"}, [("refund", "b"), ("keep", "b")]),
        ({"q": "c"}, []),
    ],
)
def test_filters_and_search(query: dict[str, str], expected: list[tuple[str, str]]) -> None:
    record(task_id="a", status="running")
    Reaction.objects.update(state="done", created_at=timezone.now() - DAY)
    record(task_id="b", status="failed")

    assert sorted(listed(staff(), **query)) == sorted(expected)


def test_pending_ones_are_listed_by_handler_the_longest_due_first() -> None:
    for task_id in "abc":
        record(task_id=task_id, status="failed" if task_id == "c" else "running")
    Reaction.objects.filter(task="b").update(due_at=timezone.now() - DAY)
    Reaction.objects.filter(handler="refund").update(due_at=timezone.now() - 2 * DAY)
    of_keep = [("keep", "b"), ("keep", "a"), ("keep", "c")]

    assert listed(staff(), state="pending") == [*of_keep, ("refund", "c")], "as the index has them"
    assert listed(staff(), state="pending", handler="keep") == of_keep


def test_the_newest_first_and_the_other_way_round() -> None:
    for task_id in "abc":
        record(task_id=task_id)

    assert [task_id for _, task_id in listed(staff())] == ["c", "b", "a"]
    assert [task_id for _, task_id in listed(staff(), o="6")] == ["a", "b", "c"]


def test_a_kind_is_looked_for_among_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.admin.linked_filters.MAX_COUNT", 2)
    for task_id in "abc":
        record(task_id=task_id)

    assert [task_id for _, task_id in listed(staff(), kind="event")] == ["c", "b"]


def test_its_page_tells_everything(dead: Reaction) -> None:
    html = staff().get(page_of(dead)).content.decode()
    event = TaskStatusEvent.objects.get(status="failed")

    for text in (
        "Dead", "running → failed", ">Last error</h2>", "Traceback (most recent call",
        '<p class="st-headline">ValueError: no account &lt;script&gt;', "3 of 3", "refund:t-1:2",
        "/task/t-1/change/", f"/taskstatusevent/{event.pk}/change/", f"{LIST}?task_id=t-1",
        "the task&#x27;s status changed its meaning", reverse("admin:sartiq_tasks_handler_changelist"),
    ):  # fmt: skip
        assert text in html, text
    assert html.index("st-headline") < html.index("st-facts"), "the error first"
    assert EVIL not in html
    TaskStatusEvent.objects.all().delete()
    assert "/taskstatusevent/" not in staff().get(page_of(dead)).content.decode()
    Reaction.objects.update(event_id=None, error="Put off for 60 s")
    html = staff().get(page_of(dead)).content.decode()
    assert html.count("Put off for 60 s") == 1


def test_the_times_are_in_the_viewers_zone(dead: Reaction) -> None:
    Reaction.objects.update(created_at=datetime(2026, 5, 1, 12, tzinfo=UTC))
    client = staff()
    assert "Times in UTC" in client.get(page_of(dead)).content.decode()
    client.cookies["sartiq_tasks_zone"] = "Asia/Tokyo"
    html = client.get(page_of(dead)).content.decode()

    assert "Times in Asia/Tokyo" in html
    assert ">2026-05-01 21:00:00.000<" in html


def test_its_page_says_what_keeps_it_waiting() -> None:
    record(status="failed")
    record(status="failed", progress=6)
    first, second = Reaction.objects.filter(handler="keep").order_by("seq")
    html = staff().get(page_of(second)).content.decode()
    assert f'earlier reaction of this task and handler: <a href="{page_of(first)}">#1</a>' in html
    assert "paused" not in html

    pause("keep")
    html = staff().get(page_of(first)).content.decode()
    assert ("is paused" in html, "earlier reaction" in html) == (True, False)
    Reaction.objects.filter(pk=first.pk).update(handler="gone")
    assert "No app declares this handler" in staff().get(page_of(first)).content.decode()
    Reaction.objects.update(state="done")
    assert "No app declares" not in staff().get(page_of(first)).content.decode()


def test_a_reaction_that_is_not_there_leads_to_the_start_page(dead: Reaction) -> None:
    answer = staff().get(page_of(dead).replace(str(dead.pk), "999999"))

    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def post(client: Client, action: str, *selected: Reaction, **more: str) -> Any:
    form = {"action": action, "_selected_action": [str(one.pk) for one in selected], **more}
    return client.post(LIST, form, follow=True)


def said(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


@pytest.mark.parametrize(
    ("action", "state", "log"),
    [("try_again", "pending", "Tried again."), ("give_up", "skipped", "Given up.")],
)
def test_a_decision_is_confirmed_made_and_logged(
    decider: Client, dead: Reaction, action: str, state: str, log: str
) -> None:
    asked = post(decider, action, dead)
    html = asked.content.decode()
    dead.refresh_from_db()
    assert dead.state == "dead", "nothing happens before it is confirmed"
    assert "<li>refund: t-1 #2</li>" in html
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))
    assert fields.items() >= {"action": action, "_selected_action": str(dead.pk), "confirmed": "yes"}.items()
    assert f'href="{LIST}" class="st-back"' in html

    answer = post(decider, action, dead, confirmed="yes")

    dead.refresh_from_db()
    assert dead.state == state
    assert said(answer) == ["1 reaction was changed."]
    assert answer.redirect_chain == [(LIST, 302)]
    (entry,) = LogEntry.objects.all()
    assert (entry.object_id, entry.change_message) == (str(dead.pk), log)


def test_those_of_one_task_are_tried_again_in_its_order(decider: Client) -> None:
    for number in range(3):
        record(task_id="t-1", progress=number)
    found = list(Reaction.objects.filter(handler="keep").order_by("seq"))
    Reaction.objects.update(state="dead", ended_at=timezone.now())

    post(decider, "try_again", *found, confirmed="yes")
    due_at = list(Reaction.objects.filter(handler="keep").order_by("seq").values_list("due_at", flat=True))
    assert len(due_at) == 3
    assert due_at == sorted(set(due_at))


def test_a_decision_on_the_page_comes_back_to_it(decider: Client, dead: Reaction) -> None:
    html = decider.get(page_of(dead)).content.decode()
    assert f'action="{LIST}"' in html
    assert ('value="try_again"' in html, 'value="give_up"' in html) == (True, True)

    html = post(decider, "try_again", dead, _page="yes").content.decode()
    assert 'name="_page" value="yes"' in html
    assert f'href="{page_of(dead)}" class="st-back"' in html
    answer = post(decider, "try_again", dead, _page="yes", confirmed="yes")
    assert answer.redirect_chain == [(page_of(dead), 302)]


def test_a_reaction_that_is_tried_again_has_all_of_its_attempts(decider: Client, dead: Reaction) -> None:
    post(decider, "try_again", dead, confirmed="yes")
    with declaring(only=False):
        calls = []
        with declaring():

            @on_change(to="failed", name="refund")
            def refund(change: Change) -> None:
                calls.append((change.attempt, change.is_replay))

            Handlers().run(after=DAY)

    assert calls == [(1, True)]


@pytest.mark.parametrize(
    ("state", "again", "up"),
    [
        ("pending", True, True), ("dead", True, True), ("skipped", True, False), ("done", False, False),
    ],
)  # fmt: skip
def test_the_decisions_that_each_state_allows(
    decider: Client, dead: Reaction, state: str, again: bool, up: bool
) -> None:
    Reaction.objects.update(state=state)
    html = decider.get(page_of(dead)).content.decode()
    assert ('value="try_again"' in html, 'value="give_up"' in html) == (again, up)

    for action, allowed in {"try_again": again, "give_up": up}.items():
        Reaction.objects.filter(pk=dead.pk).update(state=state)
        told = said(post(decider, action, dead, confirmed="yes"))
        nothing = "Nothing was changed: the action applies to none of the selected reactions."
        assert told == (["1 reaction was changed."] if allowed else [nothing])


def test_a_running_reaction_is_left_alone(decider: Client, dead: Reaction) -> None:
    now = timezone.now()
    Reaction.objects.filter(pk=dead.pk).update(state="pending", started_at=now, due_at=now + DAY)
    html = decider.get(page_of(dead)).content.decode()
    assert 'value="try_again"' not in html

    (told,) = said(post(decider, "try_again", dead, confirmed="yes"))
    assert told == "1 reaction was not changed: it is running, or has changed in the meantime."
    assert not LogEntry.objects.exists()


def test_an_action_has_a_bound(decider: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaction, "MAX_DECIDED", 2)
    for task_id in "abc":
        record(task_id=task_id)
    found = Reaction.objects.order_by("-pk")
    form = {"select_across": "1", "index": "0"}

    html = post(decider, "give_up", found[0], **form).content.decode()
    assert "Only the first 2 of the selected reactions" in html
    assert re.findall(r'name="_selected_action" value="(\d+)"', html) == [str(one.pk) for one in found[:2]]
    post(decider, "give_up", found[0], confirmed="yes", **form)
    assert [one.state for one in found] == ["skipped", "skipped", "pending"]


def test_a_confirmation_names_no_more_than_can_be_read(decider: Client) -> None:
    for number in range(22):
        record(task_id=f"t{number:02}")
    html = post(decider, "give_up", *Reaction.objects.all()).content.decode()

    assert "and 2 more" in html
    assert html.count("<li>keep: t") == 20


def test_to_see_is_not_to_decide(dead: Reaction) -> None:
    client = staff()
    for url in (LIST, page_of(dead)):
        html = client.get(url).content.decode()
        assert "try_again" not in html
        assert "give_up" not in html
    for action in ("try_again", "give_up"):
        post(client, action, dead, confirmed="yes")
    dead.refresh_from_db()

    assert dead.state == "dead"
    assert not LogEntry.objects.exists()


def test_to_decide_is_not_to_see(dead: Reaction) -> None:
    client = Client()
    client.force_login(user("decide_reaction", is_staff=True))

    assert client.get(LIST).status_code == 403
    assert post(client, "give_up", dead, confirmed="yes").status_code == 403
    dead.refresh_from_db()
    assert dead.state == "dead"


def test_nobody_edits_them(admin_client: Client, dead: Reaction) -> None:
    change = page_of(dead)

    assert admin_client.post(change, {"handler": "x"}).status_code == 403
    assert admin_client.post(change.replace("change", "delete")).status_code == 403
    assert admin_client.get(f"{LIST}add/").status_code == 403


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_export_has_the_traceback(dead: Reaction, ending: str) -> None:
    answer: Any = staff().get(f"{LIST}export.{ending}?handler=refund")
    text = b"".join(answer.streaming_content).decode()

    assert "Traceback" in text
    assert "keep" not in text


def test_the_start_page_names_them_only_where_a_handler_is_declared(admin_client: Client) -> None:
    handlers = reverse("admin:sartiq_tasks_handler_changelist")
    html = admin_client.get("/admin/").content.decode()
    assert (f'href="{LIST}"' in html, f'href="{handlers}"' in html) == (True, True)
    with declaring():
        html = admin_client.get("/admin/").content.decode()
        assert (f'href="{LIST}"' in html, f'href="{handlers}"' in html) == (False, False)


TASK = "/admin/sartiq_tasks/task/t-1/"


def section(html: str) -> list[str]:
    """Return the rows of the section of a task's page, as text."""
    (part,) = re.findall(r'<div id="st-reactions".*?</div>\s*(?:</section>|<div|<section)', html, re.DOTALL)
    return [
        " ".join(re.sub(r"<[^>]*>", " ", row).split())
        for row in re.findall(r"<tr><th scope=.row.>.*?</tr>", part, re.DOTALL)
    ]


def test_a_tasks_page_tells_what_each_handler_did(dead: Reaction) -> None:
    client = staff("view_task")
    for address in (f"{TASK}change/", f"{TASK}part/"):
        html = client.get(address).content.decode()
        rows = section(html)

        assert [row.split()[0] for row in rows] == ["keep", "refund", "keep"]
        assert re.fullmatch(
            r"refund running → failed ✖ Dead 3 of 3 — \S+ \S+ ValueError: no account .*", rows[1]
        )
        assert f'href="{LIST}?task_id=t-1"' in html
        assert f'<a href="{page_of(dead)}">refund</a>' in html
        assert EVIL not in html


def test_it_tells_the_last_of_each_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.admin.task_reactions.OF_EACH", 2)
    record(task_id="t-1", status="failed", progress=0)
    for progress in range(1, 5):
        record(task_id="t-1", status="failed", progress=progress)
    record(task_id="other")
    client = staff("view_task")
    rows = section(client.get(f"{TASK}change/").content.decode())

    assert [row.split()[0] for row in rows] == ["keep", "keep", "refund"]
    found = Reaction.objects.last_of_each_handler("t-1", of_each=2, of_all=50)
    assert [(one.handler, one.seq) for one in found] == [("keep", 5), ("keep", 4), ("refund", 1)]
    assert len(list(Reaction.objects.last_of_each_handler("t-1", of_each=2, of_all=1))) == 1
    assert list(Reaction.objects.last_of_each_handler("none", of_each=2, of_all=50)) == []


def test_it_says_that_no_handler_had_to_react() -> None:
    record(task_id="t-1")
    Reaction.objects.all().delete()

    assert "There are no reactions to this task" in staff("view_task").get(f"{TASK}change/").content.decode()


@pytest.mark.parametrize("address", [f"{TASK}change/", f"{TASK}part/"])
def test_it_is_there_only_where_it_has_something_to_tell(
    address: str, admin_client: Client, django_assert_num_queries: Any
) -> None:
    record(task_id="t-1")
    admin_client.get(address)  # Django keeps what it reads about content types
    with CaptureQueriesContext(connection) as with_handlers:
        assert "st-reactions-title" in admin_client.get(address).content.decode()
    with declaring(), django_assert_num_queries(len(with_handlers) - 1):
        assert "st-reactions-title" not in admin_client.get(address).content.decode()
    client = Client()
    client.force_login(user("view_task", is_staff=True))
    assert "st-reactions-title" not in client.get(address).content.decode()


INDEXES = {
    "": "id",
    "state=pending": "waits",
    "state=dead": "ended",
    "state=skipped": "ended",
    "handler=h1": "handler",
    "handler=h1&state=pending": "waits|head",
    "handler=h1&state=dead": "dead|ended",
    "task_id=t7": "once",
    "q=t7": "once|id",
}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's plans")
@not_on_citus("it explains nothing in a transaction that wrote")
def test_an_index_serves_what_can_be_asked(rf: Any, admin_user: Any) -> None:
    now = timezone.now()
    states = {0: "dead", 50: "skipped", 150: "pending"}
    Reaction.objects.bulk_create(
        Reaction(
            task_id=f"t{number // 5}", handler=f"h{number % 7}", seq=number, kind="change",
            state=states.get(number % 200, "done"), due_at=now, created_at=now,
        )
        for number in range(20_000)
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE sartiq_tasks_reaction")
    for query, index in INDEXES.items():
        request = rf.get(f"{LIST}?{query}")
        request.user = admin_user
        shown: Any = admin.site.get_model_admin(Reaction).get_changelist_instance(request)
        plan = shown.queryset[:50].explain()

        assert "Seq Scan" not in plan, (query, plan)
        assert re.search(f"sartiq_reaction_({index})", plan), (query, plan)
    with connection.cursor() as cursor:
        rows = Reaction.objects.last_of_each_handler("t7", of_each=2, of_all=9)
        cursor.execute(f"EXPLAIN {rows.raw_query}", rows.params)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan" not in plan, plan
