"""The times of the admin in the viewer's zone."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tasks.admin.addresses import event_url, task_url
from tasks.admin.zones import COOKIE
from tests.factories import NOON, minutes, record, rejected

pytestmark = pytest.mark.django_db
ADMIN = "/admin/sartiq_tasks"


def text_of(client: Client, address: str, **query: str) -> str:
    answer: Any = client.get(address, query)
    assert answer.status_code == 200, address
    return (b"".join(answer.streaming_content) if answer.streaming else answer.content).decode()


def test_every_page_is_in_the_chosen_zone(admin_client: Client) -> None:
    event = record(NOON, timestamp=NOON.isoformat(), progress=1)
    record(NOON, timestamp=(NOON + minutes(1)).isoformat(), progress=2)
    kept = rejected(received_at=NOON)
    pages = [f"{ADMIN}/task/", f"{ADMIN}/taskstatusevent/", f"{ADMIN}/rejecteddelivery/",
             task_url("task-1"), task_url("task-1").replace("change", "part"), event_url(event.event_id),
             f"{ADMIN}/rejecteddelivery/{kept.pk}/change/"]  # fmt: skip
    for page in pages:
        assert "2026-05-01 12:0" in text_of(admin_client, page), page
    admin_client.cookies[COOKIE] = "Asia/Kolkata"
    for page in pages:
        html = text_of(admin_client, page)
        assert "2026-05-01 17:3" in html, page
        assert "2026-05-01 12:0" not in html, page
        assert "Times in Asia/Kolkata" in html or page.endswith("/part/")
        assert 'data-is-chosen="yes"' in html or page.endswith("/part/")

    assert timezone.get_current_timezone_name() == "UTC", "only these pages"
    assert "Times in Asia/Kolkata" in text_of(admin_client, f"{ADMIN}/overview/")
    export = text_of(admin_client, f"{ADMIN}/taskstatusevent/export.jsonl")
    assert '"timestamp": "2026-05-01T12:00:00Z"' in export


@pytest.mark.parametrize(("until", "found"), [("17:29:59", False), ("17:30:01", True)])
def test_a_range_is_in_the_chosen_zone(admin_client: Client, until: str, found: bool) -> None:
    record(NOON, task_id="wanted")
    admin_client.cookies[COOKIE] = "Asia/Kolkata"
    html = text_of(admin_client, f"{ADMIN}/task/", last_received_at_to=f"2026-05-01T{until}")

    assert ("wanted" in html) == found


@pytest.mark.parametrize(
    "name", ["", "nowhere", "Europe", "../etc/passwd", "/etc/passwd", "a" * 300, "\x01", "UTC;"]
)
def test_an_unknown_zone_changes_nothing(admin_client: Client, name: str) -> None:
    # As a browser sends it: Python's own cookies take no control characters since 3.15.
    quoted = "".join(f"\\{ord(character):03o}" for character in name)
    session = admin_client.cookies["sessionid"].value
    answer = admin_client.get(
        f"{ADMIN}/task/", headers={"cookie": f'sessionid={session}; {COOKIE}="{quoted}"'}
    )
    html = answer.content.decode()

    assert "Times in UTC" in html
    assert "data-is-chosen" not in html


def test_a_name_is_taken_as_it_was_quoted(admin_client: Client) -> None:
    session = admin_client.cookies["sessionid"].value
    cookie = f'sessionid={session}; {COOKIE}="Asia\\057Kolkata"'

    answer = admin_client.get(f"{ADMIN}/task/", headers={"cookie": cookie})

    assert "Times in Asia/Kolkata" in answer.content.decode()


def test_a_view_that_answers_without_a_template_or_not_at_all(admin_client: Client) -> None:
    admin_client.cookies[COOKIE] = "Asia/Kolkata"

    assert admin_client.get(task_url("none")).status_code == 302
    assert admin_client.get(f"{ADMIN}/task/export.pdf").status_code == 404
