"""Reactions and handlers in a browser: a dead one is found, read and tried again; a handler is paused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, expect

from harness.browser import PHONE
from tasks.handlers import Change, on_change, on_event
from tasks.handlers.registry import declaring
from tasks.handlers.sql import database
from tasks.handlers.worker import mark_seen
from tasks.models import Reaction
from tasks.testing import Handlers
from tests.browser.conftest import hold_to_strict_policy
from tests.factories import record

pytestmark = pytest.mark.django_db(transaction=True)
OpenPage = Callable[..., Page]
REACTIONS = "/admin/sartiq_tasks/reaction/"
HANDLERS = "/admin/sartiq_tasks/handler/"
TASK = "/admin/sartiq_tasks/task/train-failed/change/"


def charge(depth: int) -> None:
    if depth == 0:
        raise ValueError("no account <script>alert(1)</script>")
    look_up(depth - 1)


def look_up(depth: int) -> None:
    charge(depth)  # two that call each other, as Python folds the frames of one that calls itself


@pytest.fixture(autouse=True)
def shop() -> Iterator[list[str]]:
    """A refund that fails until the account is there, and a handler that does what it is told."""
    accounts: list[str] = []
    with declaring():

        @on_change(to="failed", name="shop.refund", attempts=1)
        def refund(change: Change) -> None:
            if change.task_id not in accounts:
                charge(depth=12)

        @on_event(name="shop.keep-checkpoint")
        def keep(change: Change) -> None:
            pass

        for task_id in ("train-done", "train-failed"):
            for progress in (10, 20):
                record(task_id=task_id, progress=progress)
        record(task_id="train-failed", status="failed", progress=30)
        Handlers().run()
        Reaction.objects.filter(handler="shop.refund").update(attempts=1)
        mark_seen(["shop.refund"], database())
        record(task_id="train-waiting")
        Reaction.objects.filter(task="train-waiting").update(due_at=timezone.now() - timedelta(minutes=9))
        yield accounts


def own_pages() -> list[str]:
    dead = Reaction.objects.get(state="dead")
    return [
        REACTIONS,
        f"{REACTIONS}?state=dead&handler=shop.refund",
        f"{REACTIONS}?q=nothing-has-this-name",
        f"{REACTIONS}{dead.pk}/change/",
        HANDLERS,
        TASK,
    ]


def test_a_dead_reaction_is_found_read_and_tried_again(open_page: OpenPage, shop: list[str]) -> None:
    page = open_page()
    page.goto(HANDLERS)
    row = page.locator("tr", has=page.locator("text=shop.refund"))
    expect(row.locator("td").nth(4)).to_have_text("1")
    row.locator("a.st-dead").click()

    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    expect(page.locator("#result_list")).to_contain_text("ValueError: no account <script>")
    page.click("#result_list a:has-text('shop.refund')")
    expect(page.locator(".st-headline")).to_have_text("ValueError: no account <script>alert(1)</script>")
    tail = page.locator(".st-tail")
    last = page.evaluate(
        "(e) => { const [box, pre] = [e, e.firstElementChild].map((one) => one.getBoundingClientRect());"
        " return [pre.height > box.height, pre.bottom <= box.bottom + 1]; }",
        tail.element_handle(),
    )
    assert last == [True, True], "the traceback opens at its end"

    page.click("button:has-text('Try again')")
    expect(page.locator(".st-confirm")).to_contain_text("shop.refund: train-failed #3")
    page.click("text=No, take me back")
    expect(page.locator(".st-badge").first).to_contain_text("Dead")
    page.click("button:has-text('Try again')")
    page.click("button:has-text('Yes, I am sure')")
    expect(page.locator(".messagelist")).to_contain_text("1 reaction was changed.")
    expect(page.locator(".st-badge").first).to_contain_text("Pending")

    shop.append("train-failed")
    Handlers().run(after=timedelta(minutes=1))
    page.reload()
    expect(page.locator(".st-badge").first).to_contain_text("Done")
    expect(page.locator("button:has-text('Try again')")).to_have_count(0)


def test_reactions_are_selected_and_given_up(open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{REACTIONS}?state=dead")
    page.check("#result_list tbody .action-select")
    page.select_option("select[name=action]", "give_up")
    page.click(".actions button")
    page.click("button:has-text('Yes, I am sure')")

    expect(page.locator(".messagelist")).to_contain_text("1 reaction was changed.")
    assert page.url.endswith("?state=dead"), "back at the list as it was filtered"
    expect(page.locator("#st-none")).to_be_visible()


def test_a_handler_is_paused_and_resumed(open_page: OpenPage) -> None:
    page = open_page()
    page.goto(HANDLERS)
    row = page.locator("tr", has=page.locator("text=shop.refund"))
    expect(row).to_contain_text("Works")
    page.focus("[aria-label='Pause shop.refund']")
    mark_seen(["shop.keep-checkpoint"], database())
    expect(page.locator("tr", has=page.locator("text=shop.keep-checkpoint"))).not_to_contain_text("No worker")
    page.keyboard.press("Enter")  # the page has refreshed itself, and the button still has the focus
    expect(page.locator(".st-confirm")).to_contain_text("shop.refund")
    page.click("button:has-text('Yes, I am sure')")
    expect(page.locator(".messagelist")).to_contain_text("The handler shop.refund is paused.")
    expect(row).to_contain_text("Paused for")

    page.click("[aria-label='Resume shop.refund']")
    page.click("button:has-text('Yes, I am sure')")
    expect(row).to_contain_text("Works")


def test_the_handlers_page_refreshes_itself(open_page: OpenPage) -> None:
    page = open_page()
    page.goto(HANDLERS)
    row = page.locator("tr", has=page.locator("text=shop.keep-checkpoint"))
    expect(row).to_contain_text("No worker")
    expect(row).to_contain_text("Late")

    mark_seen(["shop.keep-checkpoint"], database())
    Reaction.objects.filter(state="pending").update(state="done")
    expect(row).to_contain_text("Works")


def test_a_tasks_page_leads_to_its_reactions(open_page: OpenPage) -> None:
    page = open_page()
    page.goto(TASK)
    rows = page.locator("#st-reactions tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("shop.keep-checkpoint")
    page.click("text=All reactions to this task")
    expect(page.locator("#result_list tbody tr")).to_have_count(4)


@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 800}])
def test_every_page_fits(open_page: OpenPage, viewport: Any) -> None:
    page = open_page(viewport=viewport)
    for url in own_pages():
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], url
        scrolled = page.locator(".results, .st-scroll").evaluate_all(
            "all => all.filter(one => one.scrollWidth > one.clientWidth).length"
        )
        assert scrolled == 0, url
    page.goto(HANDLERS)
    expect(page.locator("button[name=pause]").last).to_be_in_viewport(ratio=1)
    page.goto(REACTIONS)
    heights = page.locator("#result_list tbody tr").evaluate_all(
        "all => all.map(one => [!!one.querySelector('.field-error_shown span'), one.offsetHeight])"
    )
    if viewport != PHONE:
        assert max(height for has_error, height in heights if not has_error) < 45, "a row is one line"
        assert max(height for has_error, height in heights if has_error) < 60, "and its error another"


def test_a_theme_that_makes_icons_of_buttons_leaves_these_whole(open_page: OpenPage) -> None:
    page = open_page(bypass_csp=True, timezone_id="UTC")
    page.goto(HANDLERS)
    page.add_style_tag(content="button { display: inline-block; width: 25px; margin-left: -25px }")
    button = page.locator("button[name=pause]").first

    assert button.evaluate("one => one.scrollWidth <= one.clientWidth")
    assert button.evaluate("one => getComputedStyle(one).marginLeft") == "0px"
    expect(page.locator("#st-zone-switch")).to_be_hidden()


def test_no_page_breaks_a_strict_content_security_policy(open_page: OpenPage) -> None:
    page = open_page()
    hold_to_strict_policy(page)
    for url in own_pages():
        page.goto(url)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.violations") == [], url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: OpenPage, scheme: Any) -> None:
    page = open_page(color_scheme=scheme, bypass_csp=True)  # axe itself writes styles
    found: list[Any] = []

    def look(name: str) -> None:
        found.extend(
            (name, violation["id"], node["target"], node["failureSummary"])
            for violation in Axe().run(page).response["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        )

    for url in own_pages():
        page.goto(url)
        look(url)
    page.goto(HANDLERS)
    page.click("[aria-label='Pause shop.refund']")
    look("the confirmation")
    assert found == []
