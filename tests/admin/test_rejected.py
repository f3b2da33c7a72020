"""Rejected deliveries in the admin."""

from __future__ import annotations

import html
import json
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from typing import Any
from urllib.parse import unquote

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tasks.admin import rejected as rejected_admin
from tasks.admin.addresses import task_url
from tasks.admin.faults import WORDS, lines, of_row
from tasks.exceptions import ContractViolation
from tasks.models import RejectedDelivery, TaskStatusEvent
from tasks.serializers import task_status_event
from tasks.simulation.faults import malformed
from tests.factories import body, record, rejected, user
from tests.test_contract import CASES

pytestmark = pytest.mark.django_db
LIST = reverse("admin:sartiq_tasks_rejecteddelivery_changelist")
GOOD = json.dumps(body()).encode()


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(user("view_rejecteddelivery", "retry_rejecteddelivery", is_staff=True))
    return client


def listed(client: Client, **query: str) -> list[int]:
    answer: Any = client.get(LIST, query)
    assert answer.status_code == 200
    return [row.pk for row in answer.context["cl"].result_list]


def test_the_page_shows_the_body_with_its_faults(staff: Client) -> None:
    kept = rejected(
        b'{"progress": 101, "task_id": "<script>alert(1)</script>"}', headers={"User-Agent": "<i>"}
    )

    page = staff.get(reverse("admin:sartiq_tasks_rejecteddelivery_change", args=[kept.pk])).content.decode()

    assert "<mark>101</mark>" in page
    assert (
        '<li><b>progress</b>: above 100 <span class="st-exact">Input should be less than or equal to 100 '
        "(less_than_equal)</span></li>"
    ) in page
    assert "User-Agent: &lt;i&gt;" in page
    assert "<script>alert(1)" not in page


def test_filters_by_field_and_error_type(staff: Client) -> None:
    progress, status = rejected(), rejected(b'{"status": 5}')

    assert listed(staff) == [status.pk, progress.pk]
    assert listed(staff, field="progress") == [status.pk, progress.pk]
    assert listed(staff, field="task_id") == [status.pk]
    assert listed(staff, error_type="less_than_equal") == [progress.pk]
    assert listed(staff, error_type="than_equal") == []
    assert listed(staff, field="status", error_type="string_type") == [status.pk]
    assert listed(staff, field="body") == []


def test_filters_by_answer(staff: Client) -> None:
    invalid, large = rejected(), rejected(status=413)

    assert listed(staff, status="422") == [invalid.pk]
    assert listed(staff, status="413") == [large.pk]
    assert listed(staff, status="500") == listed(staff, status="x") == []


def test_every_error_type_of_the_contract_can_be_filtered_by() -> None:
    types = {error[1] for case in CASES for error in case.get("errors") or []}

    assert types
    assert types <= set(WORDS)
    assert {error[1] for case in CASES for error in case.get("errors") or [] if error[1] == "int_type"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b'{"progress": "50"}',
            "event_type: missing, task_id: missing, status: missing, progress: not a number",
        ),
        (json.dumps(body(progress=100.5)).encode(), "progress: above 100"),
        (json.dumps(body(progress=-0.5)).encode(), "progress: below 0"),
        (json.dumps(body(timestamp="yesterday")).encode(), "timestamp: not a date and time"),
        (b"", "body: empty"),
        (b"[]", "body: not a JSON object"),
        (b"{", "body: not valid JSON"),
    ],
)
def test_faults_in_words(staff: Client, content: bytes, told: str) -> None:
    rejected(content)
    text = staff.get(LIST).content.decode()

    cell = re.search(r'<td class="field-faults_shown">(?:<span [^>]*>)?([^<]*)', text)
    assert cell
    assert cell[1].startswith(told)
    assert "whole number" not in "".join(f"{one}" for one in counts(text))


def test_an_unknown_fault_stays_as_it_is() -> None:
    error = {"type": "odd", "loc": ["body", "status"], "msg": "Is <odd>"}

    assert of_row(" status:odd ") == "status: odd"
    assert "<b>status</b>: odd" in lines([error])
    assert "Is &lt;odd&gt; (odd)" in lines([error])


def test_what_two_items_say_of_one_fault_is_told_once() -> None:
    def items(sent: Any) -> list[dict[str, Any]]:
        with pytest.raises(ContractViolation) as raised:
            task_status_event.run_validation(body(progress=sent))
        return raised.value.items

    assert (len(items("x")), lines(items("x")).count("<li>")) == (2, 1)
    assert (len(items(101)), lines(items(101)).count("<li>")) == (2, 1)
    assert "not a whole number" in lines([items("x")[1]]), "alone it is told"


ACCEPTED = "1 delivery was accepted."
STILL_REJECTED = "1 delivery is still rejected: its page says why."


@pytest.mark.parametrize(
    ("contents", "expected"),
    [([GOOD, b"{}"], [ACCEPTED, STILL_REJECTED]), ([GOOD], [ACCEPTED]), ([b"{}"], [STILL_REJECTED])],
)
def test_try_again(staff: Client, contents: list[bytes], expected: list[str]) -> None:
    kept = [rejected(content) for content in contents]

    action = {"action": "try_again", "_selected_action": [one.pk for one in kept]}
    answer: Any = staff.post(LIST, action, follow=True)

    good = [one for one in kept if bytes(one.body) == GOOD]
    assert [str(message) for message in answer.context["messages"]] == expected
    received = TaskStatusEvent.objects.values_list("received_at", flat=True)
    assert list(received) == [one.received_at for one in good]
    assert [entry.object_id for entry in LogEntry.objects.all()] == [str(one.pk) for one in good]
    assert listed(staff, outcome="tried") == [one.pk for one in good]
    assert {one.settled_by for one in RejectedDelivery.objects.filter(outcome="tried")} == (
        {get_user_model().objects.get().get_username()} if good else set()
    )


UNCHANGED = "1 delivery was not changed: the action does not apply to its outcome."


def test_settle_and_open_again(staff: Client) -> None:
    kept, other = rejected(), rejected(b'{"task_id": "t2"}')

    def act(name: str) -> list[str]:
        action = {"action": name, "_selected_action": [kept.pk]}
        answer: Any = staff.post(LIST, action, follow=True)
        return [str(message) for message in answer.context["messages"]]

    assert act("settle") == ["1 delivery is settled."]
    assert act("settle") == [UNCHANGED], "it was before"
    assert act("try_again") == [UNCHANGED], "only what is open is tried again"
    assert (listed(staff, outcome="settled"), listed(staff, outcome="open")) == ([kept.pk], [other.pk])
    assert act("reopen") == ["1 delivery is open again."]
    assert act("reopen") == [UNCHANGED]
    assert listed(staff, outcome="open") == [other.pk, kept.pk]
    told = LogEntry.objects.order_by("pk").values_list("object_id", "change_message")
    assert list(told) == [(str(kept.pk), "Marked as settled."), (str(kept.pk), "Opened again.")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["try_again", "settle"])
def test_what_is_posted_meanwhile_stops_no_action(
    staff: Client, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """On SQLite, a transaction cannot begin to write while a cursor reads what was there before."""
    monkeypatch.setattr(rejected_admin, "BATCH", 1)
    kept = [rejected(GOOD), rejected(GOOD)]
    do = getattr(rejected_admin, name)

    def do_after_a_delivery(*args: Any, **kwargs: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(record_and_close).result()
        return do(*args, **kwargs)

    monkeypatch.setattr(rejected_admin, name, do_after_a_delivery)
    answer = staff.post(LIST, {"action": name, "_selected_action": [one.pk for one in kept]})

    assert answer.status_code == 302
    assert not RejectedDelivery.objects.open().exists()


def record_and_close() -> None:
    record(progress=7)
    connection.close()


def test_settle_on_the_page(staff: Client) -> None:
    kept = rejected()
    page = change_page(kept)
    text = staff.get(page).content.decode()
    assert 'action="../settle/"' in text
    assert 'action="../reopen/"' not in text
    assert '<span class="st-open">Open</span>' in text

    text = staff.post(page.replace("change", "settle"), follow=True).content.decode()
    assert re.search(r'<span class="st-settled">Settled</span> <time .*</time> by user-\d+', text)
    assert "../settle/" not in text
    assert "../try-again/" not in text
    text = staff.post(page.replace("change", "reopen"), follow=True).content.decode()
    assert 'action="../settle/"' in text


def test_the_list_notes_what_was_sent_again(staff: Client) -> None:
    kept, other = rejected(), rejected(json.dumps(body(task_id="t2", progress=101)).encode())
    record()

    assert (listed(staff, outcome="sent"), listed(staff, outcome="open")) == ([kept.pk], [other.pk])
    assert listed(staff, outcome="\0") == []
    text = staff.get(change_page(kept)).content.decode()
    assert '<span class="st-settled">Sent again</span> <time' in text
    assert "../settle/" not in text
    assert "../reopen/" not in text, "staff did not settle it"


def test_those_of_one_task(staff: Client) -> None:
    kept, _other = rejected(b'{"task_id": "a b"}'), rejected(b'{"task_id": "a"}')

    assert listed(staff, named_task="a b") == [kept.pk]


def test_to_see_is_not_to_try_again() -> None:
    client = Client()
    client.force_login(user("view_rejecteddelivery", is_staff=True))
    kept = rejected(GOOD)

    client.post(LIST, {"action": "try_again", "_selected_action": [kept.pk]})

    assert not TaskStatusEvent.objects.exists()
    assert "try_again" not in client.get(LIST).content.decode()


def test_nobody_edits_them() -> None:
    client = Client()
    client.force_login(user(is_staff=True, is_superuser=True))
    kept = rejected()
    change = reverse("admin:sartiq_tasks_rejecteddelivery_change", args=[kept.pk])

    assert client.post(change, {"source": "x"}).status_code == 403
    assert client.post(change.replace("change", "delete")).status_code == 403
    assert RejectedDelivery.objects.get().source == kept.source


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 deliveries rejected in"), (1, "1 delivery rejected in"), (2, "2 deliveries rejected in")],
)
def test_the_index_page_counts_the_last_day(staff: Client, number: int, text: str) -> None:
    rejected(received_at=timezone.now() - timedelta(hours=25))
    for _ in range(number):
        rejected()

    html = staff.get(reverse("admin:index")).content.decode()
    assert text in html
    url = re.search(r'<a href="([^"]*)">\d+ deliver', html)
    assert url
    assert len(staff.get(url[1]).context["cl"].result_list) == number


def test_the_index_page_tells_only_who_may_see_them() -> None:
    client = Client()
    client.force_login(user("view_task", is_staff=True))

    assert "rejected in" not in client.get(reverse("admin:index")).content.decode()


def change_page(kept: RejectedDelivery) -> str:
    return reverse("admin:sartiq_tasks_rejecteddelivery_change", args=[kept.pk])


def test_try_again_on_the_page(staff: Client) -> None:
    kept = rejected(GOOD)
    page = change_page(kept)
    assert 'action="../try-again/"' in staff.get(page).content.decode()
    again = page.replace("change", "try-again")

    assert staff.get(again).status_code == 405
    answer: Any = staff.post(again, follow=True)
    assert answer.redirect_chain == [(page, 302)]
    assert [str(message) for message in answer.context["messages"]] == [ACCEPTED]
    assert TaskStatusEvent.objects.count() == 1
    assert "try-again" not in answer.content.decode(), "it has been accepted"
    assert staff.post(again.replace(str(kept.pk), "999999")).status_code == 404


@pytest.mark.parametrize("permissions", [("view_rejecteddelivery",), ("retry_rejecteddelivery",)])
def test_the_page_takes_both_permissions_to_try_again(permissions: tuple[str, ...]) -> None:
    client = Client()
    client.force_login(user(*permissions, is_staff=True))
    kept = rejected(GOOD)

    assert client.post(change_page(kept).replace("change", "try-again")).status_code == 403
    assert not TaskStatusEvent.objects.exists()


def test_it_says_that_only_the_sender_can_fix_it(staff: Client) -> None:
    broken = rejected(b'{"status": 5')
    error = {
        "type": "json_invalid",
        "loc": ["body", 12],
        "msg": "JSON decode error",
        "ctx": {"error": "Expecting"},
    }
    RejectedDelivery.objects.filter(pk=broken.pk).update(errors=[error])
    for kept in (broken, rejected(GOOD, is_whole=False)):
        page = staff.get(change_page(kept)).content.decode()
        assert "Only the sender can fix this" in page
        assert "try-again" not in page
    told = (
        "<b>body</b>: not valid JSON: Expecting, at character 13 "
        '<span class="st-exact">JSON decode error (json_invalid)</span>'
    )
    assert told in staff.get(change_page(broken)).content.decode()


@pytest.mark.parametrize("content", [b'{"task_id": "a b"}', b"[1]", b'{"task_id": 5}'])
def test_the_task_that_it_names(staff: Client, content: bytes) -> None:
    kept = rejected(content)
    page = staff.get(change_page(kept)).content.decode()

    assert ("a b: there is no such task" in page) == (content == b'{"task_id": "a b"}')
    record(task_id="a b")
    page = staff.get(change_page(kept)).content.decode()
    assert (f'<a href="{task_url("a b")}">a b</a>' in page) == (content == b'{"task_id": "a b"}')
    cell = re.search(r'<td class="field-task">(.*?)</td>', staff.get(LIST).content.decode())
    assert cell
    assert ('/task/?q=a+b">a b</a>' in cell[1]) == (content == b'{"task_id": "a b"}')


def test_the_list_names_the_task_and_reads_no_body(staff: Client) -> None:
    rejected(b'{"task_id": "short"}')
    rejected(b'{"task_id": "long", "metadata": {"text": "' + b"x" * 20_000 + b'"}}')
    with CaptureQueriesContext(connection) as queries:
        page = staff.get(LIST).content.decode()

    assert re.findall(r'<td class="field-task">(?:<a [^>]*>)?([^<]*)', page) == ["long", "short"]
    assert not [one["sql"] for one in queries if '"body"' in one["sql"]]


@pytest.mark.parametrize(
    "content",
    [b"{", b"[" * 50_000, b"\xff", b"\xff\xfe", b"", b"null", b'{"task_id": "\\ud800"}', b"9" * 5_000],
)
def test_a_body_that_names_none(staff: Client, content: bytes) -> None:
    kept = rejected(content)

    for page in (change_page(kept), LIST):
        answer = staff.get(page)
        assert answer.status_code == 200
        assert "/task/?q=" not in answer.content.decode()
    assert listed(staff) == [kept.pk]


def test_a_task_whose_id_no_column_holds(staff: Client) -> None:
    kept = rejected(json.dumps({"task_id": "x" * 300}).encode())

    page = staff.get(change_page(kept)).content.decode()
    assert captions(page)[2] == "Task"
    assert re.search(r'<div class="readonly">—</div>', page)
    assert '<b>task_id</b>: too long <span class="st-exact">String should have at most 255' in page


def captions(html: str) -> list[str]:
    return re.findall(r"<label>([^<]*):</label>", html)


def test_the_important_comes_first_and_what_is_empty_not_at_all(staff: Client) -> None:
    kept = rejected()
    assert captions(staff.get(change_page(kept)).content.decode()) == [
        "What was wrong", "What was sent", "Task", "Outcome", "Received", "Sender", "Answer",
    ]  # fmt: skip
    RejectedDelivery.objects.update(not_kept=1, headers={"User-Agent": "a"})
    assert captions(staff.get(change_page(kept)).content.decode())[7:] == ["Not kept", "Headers"]


def test_an_empty_body_is_said_to_be_empty(staff: Client) -> None:
    page = staff.get(change_page(rejected(b""))).content.decode()

    assert "Nothing: the body is empty." in page
    assert 'class="st-text"' not in page


@pytest.mark.parametrize(
    ("content", "changes", "is_offered"),
    [
        (b'{"status": 5, "text": "it\'s <b>"}', {}, True),
        (b'{"status": "\xff"}', {}, False),
        (b'{"status": "\0"}', {}, False),
        (b"{" + b" " * 100 + b"}", {}, False),
        (b"{}", {"is_whole": False}, False),
        (b"", {}, False),
    ],
)
def test_a_body_can_be_copied_as_it_came(
    staff: Client, monkeypatch: Any, content: bytes, changes: dict[str, Any], is_offered: bool
) -> None:
    monkeypatch.setattr(rejected_admin, "LONGEST_COPIED", 60)
    page = staff.get(change_page(rejected(content, **changes))).content.decode()

    assert ('data-copy="sent"' in page) == ('data-copy="curl"' in page) == is_offered
    if is_offered:
        texts = dict(re.findall(r'<span id="(sent|curl)" hidden>(.*?)</span>', page))
        assert html.unescape(texts["sent"]) == content.decode()
        assert shlex.split(html.unescape(texts["curl"]))[-1] == content.decode()


def test_all_that_the_demo_gets_rejected_is_shown(staff: Client) -> None:
    sent = {malformed(Random(seed), body()).body for seed in range(60)}
    assert b"" in sent
    kept = [rejected(content) for content in sent]

    assert sorted(listed(staff)) == [one.pk for one in kept]
    assert all(staff.get(change_page(one)).status_code == 200 for one in kept)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_export_has_what_was_sent(staff: Client, ending: str) -> None:
    kept = rejected()
    RejectedDelivery.objects.filter(pk=kept.pk).update(body=b'{"status": "\xff"}')
    answer: Any = staff.get(f"{LIST}export.{ending}")

    assert b"xff" in b"".join(answer.streaming_content)


def test_a_row_leads_to_its_page(staff: Client) -> None:
    kept = rejected()

    assert f'<a href="{change_page(kept)}">' in staff.get(LIST).content.decode()


def counts(html: str) -> list[tuple[str, str, str]]:
    """Where each count above the list leads, its fault and its number."""
    found = re.findall(r'class="st-count [^"]*" href="([^"]*)"[^>]*>.*?</span> ([^<]*) <strong>(\d+)<', html)
    return [(unquote(url), label, number) for url, label, number in found]


def test_grouped_by_fault(staff: Client) -> None:
    wrong, both = rejected(), rejected(b'{"status": 5}')
    rejected(json.dumps(body(progress=-1)).encode(), source="another")
    told = counts(staff.get(LIST).content.decode())

    assert ("?fault=progress:less_than_equal", "progress: above 100", "1") in told
    assert ("?fault=status:string_type", "status: not text in quotation marks", "1") in told
    assert listed(staff, fault="progress:less_than_equal") == [wrong.pk]
    assert listed(staff, fault="status:string_type") == [both.pk]
    assert listed(staff, fault="rogress:less_than_equal") == []
    assert listed(staff, fault="\0") == []

    html = staff.get(LIST, {"fault": "progress:less_than_equal", "source": "tests"}).content.decode()
    assert ("?source=tests", "progress: above 100", "1") in counts(html), "the chosen one leads back"
    assert 'title="progress:less_than_equal"' in html
    assert "Fault: <b>progress: above 100</b>" in html
    assert "below 0" not in str(counts(html))


def test_the_most_frequent_fault_stands_first_and_some_are_left_out(staff: Client, monkeypatch: Any) -> None:
    rejected(b'{"status": 5}')
    rejected()
    rejected()
    monkeypatch.setattr("tasks.admin.rejected.MAX_GROUPS", 1)

    assert [label for _url, label, _n in counts(staff.get(LIST).content.decode())] == ["progress: above 100"]


@pytest.mark.parametrize(
    ("not_kept", "told"),
    [(0, None), (1, "1 more delivery was counted"), (41, "41 more deliveries were counted")],
)
def test_those_that_were_only_counted_are_explained(staff: Client, not_kept: int, told: str | None) -> None:
    rejected(not_kept=not_kept)
    html = staff.get(LIST).content.decode()

    assert ("counted but not kept" in html) == (told is not None)
    assert told is None or f"{told} but not kept: at most 60 a minute" in html


def test_the_list_has_no_search(staff: Client) -> None:
    assert "searchbar" not in staff.get(LIST).content.decode()
