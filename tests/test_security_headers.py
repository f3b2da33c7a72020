"""Security headers: on every page, in every answer that a browser could take for one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from tests import factories

pytestmark = pytest.mark.django_db
PAGES = [
    "/admin/login/",
    "/admin/",
    "/admin/sartiq_tasks/task/",
    "/admin/sartiq_tasks/taskstatusevent/",
    "/api/v1/docs",
    "/nothing/here",
]


@pytest.fixture
def browser() -> Client:
    client = Client()
    client.force_login(factories.user(is_staff=True, is_superuser=True))
    return client


def directives(answer: Any) -> dict[str, str]:
    parts = [part.strip().partition(" ") for part in answer["Content-Security-Policy"].split(";")]
    return {name: value for name, _, value in parts}


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_them(browser: Client, page: str) -> None:
    answer = browser.get(page)

    assert directives(answer)["default-src"] == "'self'"
    assert directives(answer)["object-src"] == directives(answer)["base-uri"] == "'none'"
    assert directives(answer)["frame-ancestors"] == "'none'"
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert "camera=()" in answer["Permissions-Policy"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == answer["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_anything_inline(browser: Client, page: str) -> None:
    html = browser.get(page).content.decode()

    assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)
    scripts = re.findall(r"<script([^>]*)>", html)
    assert all("src=" in script or 'type="application/json"' in script for script in scripts)


def test_a_policy_of_a_views_own_is_left_alone() -> None:
    from django.http import HttpResponse

    from sartiq_tasks.middleware import security_headers

    own = HttpResponse("", headers={"Content-Security-Policy": "default-src 'none'"})

    assert security_headers(lambda request: own)(None)["Content-Security-Policy"] == "default-src 'none'"


def test_the_answer_to_a_delivery_is_no_page(post: Any) -> None:
    answer = post(factories.body())

    assert "Content-Security-Policy" not in answer
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_the_docs_are_whole_without_another_host(browser: Client) -> None:
    html = browser.get("/api/v1/docs").content.decode()

    assert set(re.findall(r"(?:src|href)=\"([^\"]+)\"", html))
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", html)
    assert "sartiq_tasks/docs.css" in html
    assert "sartiq_tasks/docs.js" in html
