"""A real browser on a live server, and the fixtures that its tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from harness.browser import ARGUMENTS, find_chromium
from tests.programs import needed

# Longer than a page takes to refresh itself, on a busy machine too.
expect.set_options(timeout=20_000)
DESKTOP = {"width": 1440, "height": 900}


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = find_chromium() or needed("chromium", package="chromium")
    with pytest.MonkeyPatch.context() as patch:
        # Playwright's event loop runs in this thread, which does the ORM no harm.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        with sync_playwright() as playwright:
            launched = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
            yield launched
            launched.close()


@pytest.fixture
def open_page(browser: Browser, live_server: Any) -> Iterator[Callable[..., Page]]:
    """A function that opens a page of a new session, logged in unless told otherwise.

    Whatever a page complains about, in its console or by an exception, fails the test.
    """
    complaints: list[str] = []
    contexts = []

    def open_one(*, login: bool = True, **options: Any) -> Page:
        context = browser.new_context(base_url=str(live_server), **({"viewport": DESKTOP} | options))
        contexts.append(context)
        context.set_default_timeout(15_000)
        if login:
            give_session(context, str(live_server))
        page = context.new_page()
        page.on("console", lambda told: complaints.extend([told.text] if told.type == "error" else []))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def give_session(context: BrowserContext, url: str) -> None:
    """Give the browser the session of a superuser, which spares it two pages."""
    users = get_user_model().objects
    staff = users.filter(username="staff").first() or users.create_superuser("staff", password="password")
    client = Client()
    client.force_login(staff)
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])


def log_in(page: Page, username: str) -> None:
    page.goto("/admin/login/")
    page.fill("#id_username", username)
    page.fill("#id_password", "password")
    page.click("[type=submit]")
    page.wait_for_url("**/admin/")


def hold_to_strict_policy(page: Page) -> None:
    """Serve the page's documents under ``default-src 'self'``; ``window.violations`` has what breaks it."""
    page.add_init_script(
        "window.violations = []; document.addEventListener('securitypolicyviolation',"
        " (event) => window.violations.push(event.violatedDirective + ' ' + event.blockedURI));"
    )

    def with_policy(route: Route) -> None:
        if route.request.resource_type != "document":
            route.continue_()
            return
        answer = route.fetch()
        policy = {"content-security-policy": "default-src 'self'"}
        route.fulfill(response=answer, headers={**answer.headers, **policy})

    page.route("**/*", with_policy)
