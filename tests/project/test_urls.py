"""Addresses that somebody types: the root leads to the admin, a mistyped path of the API is JSON."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client


def test_the_root_leads_to_the_admin() -> None:
    answer = Client().get("/")

    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_browsers_find_an_icon() -> None:
    answer = Client().get("/favicon.ico")

    assert answer.status_code == 302
    assert finders.find(answer["Location"].removeprefix("/static/"))


@pytest.mark.django_db
def test_the_admin_names_the_product_and_leads_to_no_site_but_itself(admin_client: Client) -> None:
    html = admin_client.get("/admin/").content.decode()

    assert "| Sartiq compute tasks</title>" in html
    assert "View site" not in html


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_beside_the_server_gets_its_answer_without_https(path: str, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True

    assert Client().get(path).status_code == 200
    assert Client().get("/admin/").status_code == 301


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/v1/", "/api/v1/task/webhook", "/api/v2/tasks/webhook"]
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_typo_under_the_api_is_json(method: str, path: str) -> None:
    answer = Client(enforce_csrf_checks=True).generic(method.upper(), path)

    assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
    assert answer.json() == {"detail": "Not Found"}


@pytest.mark.parametrize("path", ["/apis", "/nowhere"])
def test_other_paths_are_not_the_apis(path: str) -> None:
    answer = Client().get(path)

    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")
