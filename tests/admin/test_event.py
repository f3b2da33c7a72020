"""The ledger's list and an event's page."""

from __future__ import annotations

import html
import json
import re
import shlex
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tasks.admin.addresses import event_url
from tasks.admin.event import TaskStatusEventAdmin
from tasks.admin.original_body import payload_of
from tasks.models import TaskStatusEvent
from tasks.serializers import task_status_event
from tasks.wire.canonical import canonical_json
from tests.databases import more_on_citus
from tests.factories import NOON, body, full_body, record, user

pytestmark = pytest.mark.django_db
LIST = "/admin/sartiq_tasks/taskstatusevent/"


def page(client: Client, url: str = LIST) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def text_of(cell: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", cell))


def test_the_list(admin_client: Client) -> None:
    record(NOON, **full_body())
    text = page(admin_client)
    cells = dict(re.findall(r'<t[hd] class="field-(\w+)">(.*?)</t[hd]>', text))

    assert {name: text_of(cell) for name, cell in cells.items()} == {
        "received": "2026-05-01 12:00:00.000", "event_clock": "12:00:00.500", "task_link": "task-1",
        "event_type_shown": "training_status_update", "status_badge": "▶ running", "progress_shown": " 5 %",
        "zone": "eu-1a", "deliveries": "1",
    }  # fmt: skip
    assert "/task/task-1/change/" in cells["task_link"]
    assert "Finds events by the" in text


def test_the_queries_of_the_list(admin_client: Client, django_assert_num_queries: Any) -> None:
    for number in range(3):
        record(task_id=f"t{number}", metadata={"a": 1})
    page(admin_client)

    # Session, user, the choices of five filters in one, the rows, which fit on a page.
    with django_assert_num_queries(4 + more_on_citus(8)):
        page(admin_client)
    # The tasks about the entity.
    with django_assert_num_queries(5 + more_on_citus(8)):
        page(admin_client, f"{LIST}?q=t1")


@pytest.mark.parametrize(
    ("query", "queries", "shown", "pages"),
    [
        ("", 5, ["t4", "t3"], True),
        ("p=2", 5, ["t2", "t1"], True),
        ("p=3", 5, ["t0"], True),
        ("all=", 5, ["t4", "t3", "t2", "t1", "t0"], True),
        ("status=queued", 4, ["t1", "t0"], False),
        ("status=none", 4, [], False),
    ],
)
def test_rows_are_counted_if_there_are_more_than_the_first_page_shows(
    admin_client: Client, monkeypatch: Any, django_assert_num_queries: Any, query: str, queries: int,
    shown: list[str], pages: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(TaskStatusEventAdmin, "list_per_page", 2)
    for number in range(5):
        record(task_id=f"t{number}", status="queued" if number < 2 else "running")
    page(admin_client)

    with django_assert_num_queries(queries + more_on_citus(8)):
        answer: Any = admin_client.get(f"{LIST}?{query}")
    listed = answer.context["cl"]
    assert [row.task_id for row in listed.result_list] == shown
    assert (listed.multi_page, listed.result_count) == (pages, 5 if pages else len(shown))
    assert (listed.can_show_all, listed.show_admin_actions, listed.full_result_count) == (True, True, None)
    assert f"{listed.result_count} task status events" in answer.content.decode()


def shown(text: str) -> dict[str, str]:
    """Return the text of each field of an event's page, by its label."""
    found = re.findall(r'<label[^>]*>([^<]*):</label>\s*<div class="readonly">(.*?)</div>', text, re.DOTALL)
    return {label: text_of(value) for label, value in found}


def test_an_event_page_holds_every_field(admin_client: Client, django_assert_num_queries: Any) -> None:
    event = record(NOON, key=b"evt-1", **full_body())
    url = event_url(event.event_id)
    page(admin_client, url)
    # Session, user, event, the one before it, the one after it.
    with django_assert_num_queries(5):
        fields = shown(page(admin_client, url))

    assert fields.items() >= {
        "Task": "task-1", "Event type": "training_status_update", "Status": "▶ running", "Progress": " 5 %",
        "Task type": "training", "Entity id": "entity-1", "Event time": "2026-05-01 12:00:00.500",
        "Received": "2026-05-01 12:00:00.000", "Started at": "2026-05-01 11:00:00.000",
        "Completed at": "2026-05-01 12:00:00.000", "Error category": "resource",
        "Error message": "out of memory", "Origin zone": "eu-1a", "Origin instance": "gpu-7",
        "Origin version": "1.2.3", "Sender": "tests", "Deliveries": "1", "Idempotency key": "evt-1",
        "Payload digest": bytes(TaskStatusEvent.objects.get().payload_digest).hex(),
    }.items()  # fmt: skip
    for label, value in (
        ("Metadata", {"epoch": 3, "losses": [0.5, 0.25]}),
        ("Additional properties", {"a": {"b": None}}),
        ("Unknown fields", {"gpu": "A100"}),
    ):
        assert json.loads(fields[label][fields[label].index("{") :]) == value


def test_the_payload_is_the_event_as_it_can_be_sent(admin_client: Client) -> None:
    record(**full_body())
    event = TaskStatusEvent.objects.get()
    payload = json.loads(payload_of(event).text)

    assert task_status_event.run_validation(payload) == task_status_event.run_validation(full_body())
    text = page(admin_client, event_url(event.pk))
    (told,) = re.findall(r'<pre id="payload"[^>]*>(.*?)</pre>', text, re.DOTALL)
    assert json.loads(html.unescape(told)) == payload
    assert '\n  "entity_id": "entity-1",\n' in html.unescape(told)
    assert "not byte-for-byte what was sent" in text


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"progress": 5.5, "gpu": "A100", "timestamp": "2026-05-01T12:00:00Z"},
        {"timestamp": "2026-05-01T12:00:00.500000+00:00", "metadata": {"loss": 1.0, "epoch": 1}},
        {"timestamp": "2026-05-01T12:00:00", "progress": 5.0},
        full_body(timestamp="2026-05-01T12:00:00Z", started_at="2026-05-01T11:00:00Z"),
    ],
)
def test_the_payload_is_what_was_sent_where_the_digest_proves_it(admin_client: Client, changes: Any) -> None:
    record(**changes)
    event = TaskStatusEvent.objects.get()

    assert payload_of(event).text == canonical_json(body(**changes))
    assert "This is what was sent, with sorted keys" in page(admin_client, event_url(event.pk))


def test_the_body_is_open_and_among_the_first(admin_client: Client) -> None:
    text = page(admin_client, event_url(record(**full_body()).event_id))

    assert list(shown(text))[:5] == ["Task", "In the order received", "Status", "Progress", "What was sent"]
    before, _body, _after = text.partition('id="payload"')
    assert before.count("<details") == before.count("</details>"), "nothing that is folded holds it"


@pytest.mark.parametrize(("key", "told"), [(b"evt-1", "evt-1"), (b"\xff\x00", "ff00"), (b"a\x01", "6101")])
def test_the_key_is_text_if_it_can_be_shown(admin_client: Client, key: bytes, told: str) -> None:
    event = record(key=key)

    assert shown(page(admin_client, event_url(event.event_id)))["Idempotency key"] == told


@pytest.mark.parametrize(
    "permissions", [("view_taskstatusevent",), ("view_taskstatusevent", "add_taskstatusevent")]
)
def test_the_view_permission_suffices_and_none_alters(client: Client, permissions: tuple[str, ...]) -> None:
    url = event_url(record().event_id)
    client.force_login(user(*permissions, is_staff=True))

    assert 'name="_save"' not in page(client, url)
    assert client.post(url, {"status": "failed"}).status_code == 403
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.get(url.replace("change", "delete")).status_code == 403


def test_not_even_a_superuser_alters(client: Client) -> None:
    event = record()
    url = event_url(event.event_id)
    client.force_login(get_user_model().objects.create_superuser("root"))

    assert client.post(url, {"status": "failed"}).status_code == 403
    assert client.post(url.replace("change", "delete"), {"post": "yes"}).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": str(event.event_id), "post": "yes"})
    assert TaskStatusEvent.objects.get().status == "running"


def test_an_event_leads_to_the_one_before_and_the_one_after(admin_client: Client) -> None:
    first, other, last = record(progress=1), record(task_id="other"), record(progress=2)

    assert f'<a href="{event_url(last.event_id)}">next →</a>' in page(admin_client, event_url(first.event_id))
    text = page(admin_client, event_url(last.event_id))
    assert f'<a href="{event_url(first.event_id)}">← previous</a>' in text
    assert "next →" not in text
    assert "previous" not in page(admin_client, event_url(other.event_id))


def test_a_delivery_can_be_copied_as_a_command(admin_client: Client) -> None:
    event = record(task_id="it's <b> $(x)")
    text = page(admin_client, event_url(event.event_id))
    (command,) = re.findall(r'<span id="curl" hidden>(.*?)</span>', text)
    arguments = shlex.split(html.unescape(command))

    assert arguments[:2] == ["curl", "$WEBHOOK"]
    assert json.loads(arguments[-1])["task_id"] == "it's <b> $(x)"


def test_groups_that_have_nothing_to_tell_are_folded(admin_client: Client) -> None:
    bare, full = record(task_id="bare"), record(task_id="full", error_message="boom", origin_zone="z")
    folded = {}
    for one in (bare, full):
        html = admin_client.get(event_url(one.event_id)).content.decode()
        folded[one] = re.findall(r'<fieldset class="[^"]*collapse[^"]*".*?<h2[^>]*>([^<]*)<', html, re.DOTALL)

    assert [title.strip() for title in folded[bare]] == ["Error", "Origin", "More"]
    assert [title.strip() for title in folded[full]] == ["More"]


def test_there_is_one_sign_for_nothing(admin_client: Client) -> None:
    html = admin_client.get(event_url(record().event_id)).content.decode()

    assert '<div class="readonly">—</div>' in html
    assert '<div class="readonly">-</div>' not in html


@pytest.mark.parametrize(
    ("timestamp", "told"),
    [
        ("2026-05-01T11:59:58.5Z", "11:59:58.500"),
        ("2026-04-30T23:59:58.5Z", "2026-04-30 23:59"),
        ("0001-01-01T00:00:00Z", "0001-01-01 00:00"),
        (None, "—"),
    ],
)
def test_the_list_tells_the_event_time_in_few_signs(
    admin_client: Client, timestamp: str | None, told: str
) -> None:
    record(NOON, timestamp=timestamp)
    (cell,) = re.findall(r'<td class="field-event_clock">(.*?)</td>', page(admin_client, LIST))

    assert text_of(cell) == told
