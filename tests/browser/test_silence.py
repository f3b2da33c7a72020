"""The decisions of staff about silent and lost tasks, in a browser, with and without each permission."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, expect

from harness.browser import PHONE
from tasks.handlers import on_found, on_lost
from tasks.handlers.registry import declaring
from tasks.ledger.silence import mark_lost, notice
from tasks.models import Reaction, Silence, Task
from tests.browser.conftest import hold_to_strict_policy, log_in
from tests.factories import record, user

pytestmark = pytest.mark.django_db(transaction=True)
OpenPage = Callable[..., Page]
LIST = "/admin/sartiq_tasks/task/"
SILENT, LOST = f"{LIST}silent/change/", f"{LIST}lost/change/"
BUTTONS = ".st-again button"


@pytest.fixture(autouse=True)
def tasks(settings: Any) -> Iterator[None]:
    """A silent task and a lost one, a cluster to ask, and handlers of what is lost and found."""
    settings.SARTIQ_TASKS = {"PROBE_URL": "http://127.0.0.1:1/jobs"}
    with declaring():
        on_lost(name="lost")(lambda change: None)
        on_found(name="found")(lambda change: None)
        for task_id in ("silent", "lost"):
            record(timezone.now() - timedelta(hours=1), task_id=task_id)
        mark_lost(task("lost"))
        Reaction.objects.all().delete()
        notice(timezone.now())
        Silence.objects.update(due_at=timezone.now() + timedelta(hours=1))
        yield


def task(task_id: str) -> Task:
    return Task.objects.get(pk=task_id)


def is_due(task_id: str) -> bool:
    return Silence.objects.due(timezone.now()).filter(pk=task_id).exists()


def told() -> list[str]:
    return list(Reaction.objects.order_by("pk").values_list("handler", flat=True))


@pytest.mark.parametrize(
    ("permissions", "of_silent", "of_lost", "of_list"),
    [
        ([], [], [], 0),
        (["ask_task"], ["Ask now"], ["Ask now"], 1),
        (["mark_task_lost"], ["Mark as lost"], ["Not lost"], 2),
        (["ask_task", "mark_task_lost"], ["Ask now", "Mark as lost"], ["Ask now", "Not lost"], 3),
    ],
    ids=["neither", "to ask", "to mark", "both"],
)
def test_each_button_needs_its_permission(
    open_page: OpenPage, permissions: list[str], of_silent: list[str], of_lost: list[str], of_list: int
) -> None:
    page = open_page(login=False)
    log_in(page, user("view_task", *permissions, is_staff=True).username)

    for url, offered in ((SILENT, of_silent), (LOST, of_lost)):
        page.goto(url)
        expect(page.locator(".st-note").first).to_be_visible()
        expect(page.locator(BUTTONS)).to_have_text(offered)
    page.goto(f"{LIST}?silent=1")
    expect(page.locator("select[name=action] option:not([value=''])")).to_have_count(of_list)


def test_to_ask_now(open_page: OpenPage) -> None:
    page = open_page(login=False)
    log_in(page, user("view_task", "ask_task", is_staff=True).username)
    for task_id, url in (("silent", SILENT), ("lost", LOST)):
        page.goto(url)
        page.click("button:has-text('Ask now')")

        expect(page.locator(".messagelist")).to_contain_text("asks about 1 task within seconds")
        assert page.url.endswith(url)
        assert is_due(task_id)


def test_to_mark_as_lost_and_to_take_it_back(open_page: OpenPage) -> None:
    page = open_page(login=False)
    log_in(page, user("view_task", "mark_task_lost", is_staff=True).username)
    page.goto(SILENT)
    page.click("button:has-text('Mark as lost')")
    expect(page.locator(".st-confirm")).to_contain_text("Their status stays as the sender reported it")
    page.click("text=No, take me back")
    assert not task("silent").is_lost

    page.click("button:has-text('Mark as lost')")
    page.click("button:has-text('Yes, I am sure')")
    expect(page.locator(".st-note").first).to_contain_text("Marked as lost")
    assert task("silent").is_lost
    assert told() == ["lost"]

    page.click("button:has-text('Not lost')")
    expect(page.locator(".st-confirm")).to_contain_text("Their marks will be removed")
    page.click("button:has-text('Yes, I am sure')")
    expect(page.locator(BUTTONS)).to_have_text(["Mark as lost"])
    assert not task("silent").is_lost
    assert told() == ["lost", "found"]


def test_a_button_is_there_as_soon_as_the_task_falls_silent(open_page: OpenPage) -> None:
    """The page refreshes itself, and its buttons with it."""
    page = open_page()
    record(task_id="heard")
    page.goto(f"{LIST}heard/change/")
    expect(page.locator(BUTTONS)).to_have_count(0)
    Task.objects.filter(pk="heard").update(last_received_at=timezone.now() - timedelta(hours=1))

    expect(page.locator(BUTTONS)).to_have_text(["Ask now", "Mark as lost"])
    page.click("button:has-text('Ask now')")
    expect(page.locator(".messagelist")).to_contain_text("asks about 1 task within seconds")


def test_tasks_are_selected_and_marked(open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{LIST}?silent=1")
    page.check("#result_list tbody tr:has-text('silent') .action-select")
    page.select_option("select[name=action]", "mark_as_lost")
    page.click(".actions button")
    page.click("button:has-text('Yes, I am sure')")

    expect(page.locator(".messagelist")).to_contain_text("1 task was changed.")
    assert page.url.endswith("?silent=1"), "back at the list as it was filtered"
    assert task("silent").is_lost


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_buttons_fit_and_are_accessible_and_break_no_policy(open_page: OpenPage, scheme: Any) -> None:
    page = open_page(viewport=PHONE, color_scheme=scheme)
    hold_to_strict_policy(page)
    readable = open_page(color_scheme=scheme, bypass_csp=True)  # axe itself writes styles
    for url in (SILENT, LOST):
        for one in (page, readable):
            one.goto(url)
            one.click(f"{BUTTONS}:last-child")
            expect(one.locator(".st-confirm")).to_be_visible()
            one.go_back()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.evaluate("window.violations") == []
        found = Axe().run(readable).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
