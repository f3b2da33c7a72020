"""The interactive page: log in with what `make run` prints, and post an event from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tasks.auth.clients import create_compute_client, issue_token
from tasks.models import TaskStatusEvent
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def log_in(page: Page, scheme: str, fields: dict[str, str]) -> None:
    """Fill one of the forms of *Authorize*, and close it."""
    page.locator("button.authorize").first.click()
    form = page.locator(".auth-container").filter(has=page.get_by_role("heading", name=scheme)).first
    for name, value in fields.items():
        form.locator(name).fill(value)
    form.locator("button.authorize").click()
    expect(form.get_by_text("Logout")).to_be_visible()
    page.locator(".close-modal").click()


def try_it_out(page: Page) -> int:
    """Send the example; return the status of the answer."""
    operation = page.locator("#operations-tasks-tasks-task_webhook")
    operation.locator("button.opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    return int(operation.locator(".live-responses-table .response-col_status").last.inner_text().split()[0])


def by_password() -> tuple[str, dict[str, str]]:
    factories.user("add_taskstatusevent", username="ada")
    return "OAuth2PasswordBearer (OAuth2, password)", {
        "#oauth_username": "ada",
        "#oauth_password": "password",
    }


def by_client() -> tuple[str, dict[str, str]]:
    client, secret = create_compute_client("cluster")
    fields = {"#client_id_clientCredentials": client.client_id, "#client_secret_clientCredentials": secret}
    return "OAuth2PasswordBearer (OAuth2, clientCredentials)", fields


def by_pasted_token() -> tuple[str, dict[str, str]]:
    client, _secret = create_compute_client("cluster")
    return "BearerToken (http, Bearer)", {"input": issue_token(client)}


@pytest.mark.parametrize("way", [by_password, by_client, by_pasted_token])
def test_authorize_and_post(open_page: Callable[..., Page], way: Callable[[], Any]) -> None:
    scheme, fields = way()
    page = open_page(login=False)
    page.goto("/api/v1/docs")
    log_in(page, scheme, fields)

    assert try_it_out(page) == 200
    assert TaskStatusEvent.objects.get().task_id == "train-2041"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_systems_colours(open_page: Callable[..., Page], scheme: Any) -> None:
    page = open_page(login=False, color_scheme=scheme)
    page.goto("/api/v1/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    shades = page.evaluate("getComputedStyle(document.body).backgroundColor").removeprefix("rgb(").rstrip(")")
    is_turned = page.evaluate("getComputedStyle(document.querySelector('.swagger-ui')).filter") != "none"

    assert (sum(map(int, shades.split(","))) < 3 * 60) == is_turned == (scheme == "dark")
