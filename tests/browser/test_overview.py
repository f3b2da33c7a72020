"""The overview as a newcomer meets it: on a desk, on a phone, in the dark, by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, expect

from harness.browser import PHONE
from tasks.admin import overview
from tests import factories
from tests.browser.conftest import DESKTOP, hold_to_strict_policy

pytestmark = pytest.mark.django_db(transaction=True)
OVERVIEW = "/admin/sartiq_tasks/overview/"
SIZES = {
    "desk": DESKTOP, "laptop": {"width": 1280, "height": 800}, "tablet": {"width": 820, "height": 1180},
    "phone": PHONE,
}  # fmt: skip
TRACE = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
WIDER = """[...document.querySelectorAll('.st-overview .st-scroll')]
    .filter((region) => region.scrollWidth > region.clientWidth).map((region) => region.textContent)"""
OpenPage = Callable[..., Page]


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """More kinds of failure than are shown, one of them new, a silent task, a rejected delivery."""
    monkeypatch.setattr(overview, "BUDGET", timedelta(minutes=10))

    def task(hours: float, task_id: str, status: str, **more: Any) -> None:
        at = timezone.now() - timedelta(hours=hours)
        where = {"origin_zone": f"zone-{task_id[-1]}", "origin_instance": f"gpu-a100-{task_id[-1]}"}
        factories.record(at, task_id=task_id, status=status, **where, **more)

    for number in range(8):
        category = f"category_{number}"
        for hours in (2 + number, 50 + number):
            message = (
                f"{TRACE}SomeError: a text that is longer than the line has room for, of kind {number}" * 2
            )
            task(hours, f"failed-{hours}-{number}", "failed", error_message=message, error_category=category)
            task(hours, f"done-{hours}-{number}", "done", task_type=f"type-{number % 3}")
    task(1, "new-1", "failed", error_message="Unheard of", error_category="storage")
    task(1, "silent-1", "running")
    factories.rejected(received_at=timezone.now() - timedelta(hours=1), not_kept=3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_axe_finds_nothing_serious(open_page: OpenPage, size: str, scheme: Any) -> None:
    page = open_page(viewport=SIZES[size], color_scheme=scheme, bypass_csp=True)  # axe itself writes styles
    page.goto(OVERVIEW)

    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    assert page.evaluate(WIDER) == [], "nothing scrolls sideways"
    assert [
        (violation["id"], node["target"], node["failureSummary"])
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ] == []


def test_on_a_desk_it_is_one_screen(open_page: OpenPage) -> None:
    page = open_page()
    page.goto(OVERVIEW)

    expect(page.locator(".st-failures tbody tr")).to_have_count(6)
    box = page.locator(".st-overview").bounding_box()
    assert box
    assert box["y"] + box["height"] <= DESKTOP["height"]


def test_it_answers_and_leads_on(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/admin/")
    expect(page.locator("#st-conclusion")).to_contain_text("3 things need you")
    page.click(".st-conclusion a:has-text('Compute overview')")
    expect(page.locator("#st-conclusion")).to_contain_text("3 things need you")

    page.click("text=A new failure: “Unheard of”, 1 task.")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    expect(page.locator("#result_list")).to_contain_text("new-1")
    page.go_back()

    page.click("#st-tile-silent")
    expect(page.locator("#result_list")).to_contain_text("silent-1")
    page.go_back()

    bar = page.locator(".st-charts section:first-child .st-failed a").last
    assert "1 failed" in str(bar.get_attribute("aria-label"))
    bar.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.go_back()

    page.locator(".st-charts section:first-child .st-failed a .st-hit").last.click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.go_back()

    page.click("#st-senders ~ * a:has-text('tests')")
    expect(page.locator("#result_list tbody tr").first).to_be_visible()
    assert "taskstatusevent" in page.url


def test_a_tile_is_one_line_under_its_name(open_page: OpenPage) -> None:
    factories.record(timezone.now() - timedelta(minutes=13), task_id="queued-1", status="queued")
    page = open_page()
    page.goto(OVERVIEW)

    expect(page.locator(".st-tile")).to_have_count(6)
    heights = page.evaluate("[...document.querySelectorAll('.st-tile')].map((tile) => tile.scrollHeight)")
    assert max(heights) < 65


def test_it_refreshes_itself(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "REFRESH_SECONDS", 1)
    page = open_page()
    page.goto(OVERVIEW)
    expect(page.locator("#st-tile-running strong")).to_have_text("1")
    factories.record(task_id="just-begun")

    expect(page.locator("#st-tile-running strong")).to_have_text("2")


def test_without_javascript_everything_is_there(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(OVERVIEW)

    expect(page.locator("#st-live")).to_be_hidden()
    expect(page.locator("#st-conclusion")).to_contain_text("3 things need you")
    page.click("#st-tile-failed")
    expect(page.locator("#result_list tbody tr")).to_have_count(9)


def test_it_breaks_no_strict_content_security_policy(open_page: OpenPage) -> None:
    page = open_page()
    hold_to_strict_policy(page)
    page.goto(OVERVIEW)
    page.wait_for_load_state("networkidle")

    assert page.evaluate("window.violations") == []
    heights = page.evaluate("[...document.querySelectorAll('.st-bar-of')].map((bar) => bar.getBBox().height)")
    assert min(heights) >= 6
