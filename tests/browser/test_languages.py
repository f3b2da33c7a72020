"""The app's pages in German, whose words are longer, and from right to left, as in Arabic."""

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
from tasks.models import Reaction, RejectedDelivery, TaskStatusEvent
from tasks.testing import Handlers
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
OpenPage = Callable[..., Page]
APP = "/admin/sartiq_tasks/"
SIZES: Any = ({"width": 1280, "height": 800}, PHONE)
FAILED = "train-7f3c9a52-0b1e-4d7f-9c55-failed"
TRACE = """Traceback (most recent call last):
  File "train.py", line 8, in step
RuntimeError: CUDA out of memory (os error 12)."""
#: The labels that are cut off, or wider than the box that they are in.
CUT = """() => [...document.querySelectorAll("#content :is(" +
    "h2, label, summary, legend, .button, dt, thead th, thead th *, .st-label, .st-count, .st-tile, " +
    ".st-badge:not([title]), #st-handlers td)")]
    .filter((element) => element.checkVisibility() && getComputedStyle(element).display !== "inline")
    .filter((element) => element.scrollWidth > element.clientWidth + 1)
    .map((element) => [element.outerHTML.slice(0, 150), element.scrollWidth, element.clientWidth])"""
#: What begins or ends with a number or a sign, which would change sides in a text from right to left.
REVERSIBLE = {
    "overview": (".st-conclusion li a", ".st-failures time"),
    "tasks": (".field-progress_shown .st-progress", ".field-last_heard time"),
    "failed": (".st-headline", "#st-error", ".st-facts time", ".st-json pre", ".st-event time", ".st-since"),
    "event": (".field-event_time time", ".field-error_text pre"),
    "rejected": (".field-received a",),
    "reaction": (".st-headline",),
}
#: How far from the left the first letter and the last one of an element's first line stand.
ENDS = r"""(element) => {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    while (!/\S.+/.test(walker.nextNode().data));
    const { index, 0: line } = walker.currentNode.data.match(/\S.+/);
    const left = (at) => {
        const range = document.createRange();
        range.setStart(walker.currentNode, at);
        range.setEnd(walker.currentNode, at + 1);
        return range.getBoundingClientRect().left;
    };
    return [left(index), left(index + line.trimEnd().length - 1)];
}"""


@pytest.fixture(autouse=True)
def cluster() -> Iterator[None]:
    """Something for each part of each page: a failure, silence, a plot, rejections, a dead reaction."""
    now = timezone.now()

    def event(minutes: float, task_id: str, status: str, **more: Any) -> None:
        at = now - timedelta(minutes=minutes)
        factories.record(at, task_id=task_id, status=status, timestamp=at.isoformat(), **more)

    where = {"origin_zone": "eu-central-1b", "origin_instance": "gpu-a100-node-17", "entity_id": "model-12"}
    with declaring():

        @on_change(to="failed", name="billing.refund_customer", attempts=1)
        def refund(change: Change) -> None:
            raise ValueError("No account (yet).")

        @on_event(name="shop.keep-checkpoint")
        def keep(change: Change) -> None:
            pass

        event(90, FAILED, "queued", progress=0, **where)
        for step in range(1, 8):
            event(90 - step * 5, FAILED, "running", progress=step * 10, metadata={"loss": 1 / step}, **where)
        event(40, FAILED, "failed", progress=70, error_message=TRACE, error_category="out_of_memory", **where)
        event(300, "train-silent", "running", progress=40.5, **where)
        event(2, "train-running", "running", progress=99.3, task_type="generation", **where)
        event(30, "generation-done", "succeeded", progress=100, task_type="generation", **where)
        event(20, "generation-cancelled", "cancelled", progress=3, **where)
        event(9, "generation-queued", "pending", progress=0, task_type="upscaling")
        event(9, "odd", "hibernating", progress=0)
        Handlers().run()
        Reaction.objects.filter(handler="billing.refund_customer").update(attempts=1)
        mark_seen(["billing.refund_customer"], database())
        factories.rejected()
        factories.rejected(b'{"task_id": "train-1", "progress": 7,}')
        yield


def own_pages() -> dict[str, str]:
    dead = Reaction.objects.get(state="dead")
    event = TaskStatusEvent.objects.get(status="failed")
    progress, syntax = RejectedDelivery.objects.order_by("pk")
    return {
        "start": "/admin/",
        "overview": f"{APP}overview/",
        "tasks": f"{APP}task/",
        "failed": f"{APP}task/{FAILED}/change/",
        "silent": f"{APP}task/train-silent/change/",
        "events": f"{APP}taskstatusevent/?received_at=24h",
        "event": f"{APP}taskstatusevent/{event.pk}/change/",
        "rejected": f"{APP}rejecteddelivery/",
        "rejected-progress": f"{APP}rejecteddelivery/{progress.pk}/change/",
        "rejected-syntax": f"{APP}rejecteddelivery/{syntax.pk}/change/",
        "reactions": f"{APP}reaction/",
        "reaction": f"{APP}reaction/{dead.pk}/change/",
        "handlers": f"{APP}handler/",
    }


@pytest.mark.parametrize(("language", "direction"), [("ar", "rtl"), ("de-DE", "ltr")])
def test_every_page_fits_and_axe_finds_nothing_serious(
    open_page: OpenPage, language: str, direction: str
) -> None:
    page = open_page(locale=language, bypass_csp=True)  # axe itself writes styles
    wide, cut, found = [], [], []
    for name, url in own_pages().items():
        page.goto(url)
        assert page.locator("html").get_attribute("dir") == direction
        for size in SIZES:
            page.set_viewport_size(size)
            if page.evaluate("document.documentElement.scrollWidth") > size["width"]:
                wide.append((name, size))
            cut += [(name, size, *label) for label in page.evaluate(CUT)]
        found += [
            (name, violation["id"], node["target"], node["failureSummary"])
            for violation in Axe().run(page).response["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]
    assert (wide, cut, found) == ([], [], [])


def test_from_right_to_left_no_time_number_or_traceback_is_reversed(open_page: OpenPage) -> None:
    page = open_page(locale="ar", viewport=SIZES[0])
    pages = own_pages()
    for name, selectors in REVERSIBLE.items():
        page.goto(pages[name])
        for selector in selectors:
            first, last = page.locator(selector).first.evaluate(ENDS)
            assert first < last, (name, selector)


def test_from_right_to_left_the_hours_stand_below_their_bars(open_page: OpenPage) -> None:
    page = open_page(locale="ar", viewport=SIZES[0])
    page.goto(own_pages()["overview"])
    charts = page.locator(".st-charts section")
    expect(charts).to_have_count(2)
    for chart in charts.all():
        bars: Any = chart.locator(".st-rejected svg").bounding_box()
        ticks: Any = chart.locator(".st-ticks").bounding_box()
        assert ticks["x"] == pytest.approx(bars["x"], abs=1)
        assert ticks["width"] == pytest.approx(bars["width"], abs=1)
