"""The lists and pages of tasks and events as staff use them: on a desk, on a phone, without JavaScript."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, expect

from harness.browser import PHONE
from tasks.models import TaskStatusEvent
from tests import factories
from tests.browser.conftest import hold_to_strict_policy

pytestmark = pytest.mark.django_db(transaction=True)

TASKS = "/admin/sartiq_tasks/task/"
EVENTS = "/admin/sartiq_tasks/taskstatusevent/"
REJECTED = "/admin/sartiq_tasks/rejecteddelivery/"
FAILED = f"{TASKS}train-failed/change/"
RUNNING = f"{TASKS}train-running/change/"
LONG = f"{TASKS}long/change/"
TRACE = "Traceback (most recent call last):\n  CUDA out of memory <script>alert(1)</script>"
OpenPage = Callable[..., Page]


@pytest.fixture(autouse=True)
def cluster() -> None:
    """A small cluster: a training that failed, one that runs, a generation that is done, one that waits."""
    begin = timezone.now() - timedelta(hours=1)

    def event(task_id: str, minute: float, status: str | None, progress: float, **more: Any) -> None:
        at = begin + timedelta(minutes=minute)
        sent = {"task_id": task_id, "status": status, "progress": progress, "timestamp": at.isoformat()}
        factories.record(received_at=at + timedelta(seconds=1), **sent, **more)

    for task_id in ("train-failed", "train-running"):
        event(task_id, 0, "queued", 0, origin_zone="eu-1a")
        for step in range(1, 8):
            event(task_id, step * 3, "running", step * 10, metadata={"epoch": step})
    event("train-failed", 25, "failed", 70, error_message=TRACE, error_category="out_of_memory")
    event("train-failed", 25, "failed", 70, error_message=TRACE, error_category="out_of_memory")
    event("generation-done", 2, "succeeded", 100, task_type="generation")
    event("generation-queued", 3, "pending", 0, task_type="generation")


def own_pages() -> list[str]:
    """The pages that are this app's; what leads to them is Django's own."""
    event = TaskStatusEvent.objects.filter(status="failed").get()
    kept = factories.rejected()
    return [
        TASKS,
        f"{TASKS}?meaning=failed&error_category=out_of_memory&last_received_at=24h",
        f"{TASKS}?q=nothing-has-this-name",
        FAILED,
        RUNNING,
        EVENTS,
        f"{EVENTS}?q=train-",
        f"{EVENTS}{event.pk}/change/",
        REJECTED,
        f"{REJECTED}{kept.pk}/change/",
    ]


def test_from_the_list_to_what_failed_and_back(open_page: OpenPage) -> None:
    page = open_page()
    page.goto(TASKS)
    for name, count in {"queued": 1, "running": 1, "succeeded": 1, "failed": 1, "cancelled": 0}.items():
        expect(page.locator(f"#st-count-{name} strong")).to_have_text(str(count))

    page.click("#st-count-failed")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    expect(page.locator("#result_list")).to_contain_text("CUDA out of memory <script>")

    page.click("#result_list a:has-text('train-failed')")
    expect(page.locator("h1, h2").first).to_be_visible()
    expect(page.locator("#content")).to_contain_text("CUDA out of memory <script>alert(1)</script>")
    expect(page.locator("#st-timeline .st-event")).to_have_count(9)
    expect(page.locator("#st-timeline .st-events > li")).to_have_count(4)
    expect(page.locator("#st-timeline")).to_contain_text("duplicate: delivered 2 times")
    points = str(page.locator("#st-plot polyline").get_attribute("points")).split()
    assert len(points) == 9, "every event is a point of the line"
    expect(page.locator("#st-plot .st-point")).to_have_count(3)  # one where the status changes
    assert page.locator("#st-plot polyline").bounding_box()["height"] > 20  # type: ignore[index]

    page.click("#st-timeline li:first-child a")
    assert page.url.split("?")[0].endswith("/change/")
    expect(page.locator("#content")).to_contain_text("out_of_memory")
    page.click("a:has-text('train-failed') >> visible=true")
    expect(page.locator("#st-timeline")).to_be_visible()


def test_a_plot_tells_the_value_under_the_pointer(open_page: OpenPage) -> None:
    page = open_page()
    page.goto(RUNNING)
    figure = page.locator(".st-figure", has_text="epoch")
    plot = figure.locator("svg")
    for part, value in ((0.02, "1"), (0.5, "4"), (0.98, "7")):
        box: Any = plot.bounding_box()
        page.mouse.move(box["x"] + box["width"] * part, box["y"] + 20)
        expect(figure.locator("output")).to_have_text(re.compile(rf"^\d+-\d+-\d+ [\d:.]+ +{value}$"))

    page.click("text=Values as a table")
    expect(page.get_by_role("columnheader", name="epoch")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("70 % 7"))).to_be_visible()


def test_someone_who_is_not_logged_in_is_asked_to(open_page: OpenPage) -> None:
    page = open_page(login=False)
    page.goto(FAILED)

    expect(page.locator("#login-form")).to_be_visible()


@pytest.mark.parametrize(
    ("query", "task_ids"),
    [
        ("meaning=running", {"train-running"}),
        ("silent=1", {"train-running"}),
        ("meaning=failed&error_category=out_of_memory", {"train-failed"}),
        ("task_type=generation", {"generation-done", "generation-queued"}),
        ("q=train-", {"train-failed", "train-running"}),
        ("q=train-failed", {"train-failed"}),
        ("meaning=cancelled", set()),
    ],
)
def test_a_list_shows_what_its_address_asks_for(open_page: OpenPage, query: str, task_ids: set[str]) -> None:
    factories.record(task_id="generation-done", task_type="generation", status="done", progress=100)
    page = open_page()
    page.goto(f"{TASKS}?{query}")

    shown = page.locator("#result_list tbody th").all_inner_texts()
    assert {text.strip() for text in shown} == task_ids


def test_the_list_refreshes_itself_and_can_be_paused(open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{TASKS}?meaning=running")
    factories.record(task_id="brand-new")

    expect(page.locator("#result_list")).to_contain_text("brand-new")
    expect(page.locator("#st-count-running strong")).to_have_text("2")
    assert page.url.endswith("?meaning=running")

    page.click("#st-live-toggle")
    expect(page.locator("#st-live-state")).to_have_text("Paused")
    expect(page.locator("#st-live-toggle")).to_have_text("Resume")
    factories.record(task_id="newer-still")
    page.wait_for_timeout(6000)
    expect(page.locator("#result_list")).not_to_contain_text("newer-still")
    page.goto(RUNNING)
    expect(page.locator("#st-live-toggle")).to_have_text("Pause")
    page.go_back()
    expect(page.locator("#st-live-state")).to_have_text("Paused")

    page.click("#st-live-toggle")
    expect(page.locator("#result_list")).to_contain_text("newer-still")


def test_the_page_of_a_running_task_shows_a_new_event_until_it_ends(open_page: OpenPage) -> None:
    page = open_page()
    page.goto(RUNNING)
    rows = page.locator("#st-timeline .st-event")
    expect(rows).to_have_count(8)
    page.click(".st-run summary")
    page.focus("#st-timeline .st-event >> nth=1 >> css=a")
    focused = page.evaluate("document.activeElement.href")

    factories.record(task_id="train-running", progress=90, timestamp=timezone.now().isoformat())
    expect(rows).to_have_count(9)
    expect(page.locator(".st-run .st-event")).to_have_count(7)
    expect(rows.nth(1)).to_be_visible()  # the run that was opened is open, and has grown
    assert page.evaluate("document.activeElement.href") == focused

    at = (timezone.now() + timedelta(seconds=1)).isoformat()
    factories.record(task_id="train-running", status="completed", progress=100, timestamp=at)
    expect(rows).to_have_count(10)
    expect(page.locator("#st-live")).to_be_hidden()


def long_task(count: int) -> None:
    """A running task with that many events, every tenth of which changes more than the progress."""
    begin = timezone.now() - timedelta(minutes=count + 1)
    for number in range(count):
        factories.record(
            task_id="long",
            received_at=begin + timedelta(minutes=number),
            timestamp=(begin + timedelta(minutes=number)).isoformat(),
            progress=number / 100,
            origin_instance=f"gpu-{number // 10}",
        )


def test_earlier_events_come_into_the_page_and_new_ones_go_to_its_top(open_page: OpenPage) -> None:
    long_task(230)
    page = open_page()
    page.goto(LONG)
    events = page.locator(".st-event")
    expect(events).to_have_count(100)
    for count in (200, 230):
        page.click("text=Earlier events")
        expect(events).to_have_count(count)
    expect(page.locator("text=Earlier events")).to_have_count(0)

    for number in range(3):
        factories.record(task_id="long", status=f"new-{number}", timestamp=timezone.now().isoformat())
        expect(page.locator(".st-events > li").first).to_contain_text(f"new-{number}")
    expect(events).to_have_count(233)
    times = page.locator(".st-event > time").evaluate_all("all => all.map(one => one.dateTime)")
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("width", [390, 768, 1280, 1440])
def test_a_tasks_page_fits(open_page: OpenPage, width: int) -> None:
    long_task(30)
    page = open_page(viewport={"width": width, "height": 900})
    for url in (LONG, FAILED):
        page.goto(url)
        page.evaluate("document.querySelectorAll('.st-run details').forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, url
        heights = page.locator(".st-event").evaluate_all("all => all.map(one => one.offsetHeight)")
        assert max(heights) < 220, "no column is pressed to a letter's width"


def test_a_refresh_fetches_only_what_is_new(open_page: OpenPage) -> None:
    long_task(200)
    page = open_page()
    page.goto(LONG)
    sizes = []
    page.on("response", lambda one: sizes.extend([len(one.body())] if "/part/" in one.url else []))
    with page.expect_response("**/part/*"):
        pass
    factories.record(task_id="long", status="new", timestamp=timezone.now().isoformat())
    expect(page.locator(".st-events > li").first).to_contain_text("new")

    assert sizes[0] < 6_000
    assert sizes[-1] < 40_000


def test_a_live_page_says_that_its_session_has_ended(open_page: OpenPage) -> None:
    page = open_page()
    for url in (TASKS, RUNNING):
        page.goto(url)
        cookies = page.context.cookies()
        page.context.clear_cookies()
        expect(page.locator("#st-live-state")).to_contain_text("Your session has ended")
        expect(page.locator("#st-live-toggle")).to_be_hidden()
        page.click("#st-live-state a")
        expect(page.locator("#login-form")).to_be_visible()
        page.context.add_cookies(cookies)  # type: ignore[arg-type]


def test_what_is_shown_can_be_exported(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    page.goto(f"{TASKS}?task_type=generation")

    with page.expect_download() as download:
        page.click("text=Export CSV")
    download.value.save_as(tmp_path / "tasks.csv")
    with page.expect_download() as download:
        page.click("text=Export JSON Lines")
    download.value.save_as(tmp_path / "tasks.jsonl")

    rows = csv.DictReader((tmp_path / "tasks.csv").read_text(encoding="utf-8-sig").splitlines())
    lines = [json.loads(line) for line in (tmp_path / "tasks.jsonl").read_text().splitlines()]
    wanted = {"generation-done", "generation-queued"}
    assert {row["task_id"] for row in rows} == {line["task_id"] for line in lines} == wanted


def test_the_filter_by_time_takes_a_range(open_page: OpenPage) -> None:
    page = open_page()
    page.goto(TASKS)
    page.click("summary:has-text('Last heard from')")
    page.fill("#st-last_received_at_to", "2020-01-01T12:30")
    page.click(".st-range button")

    expect(page.locator("#result_list tbody tr")).to_have_count(0)
    expect(page.locator("#st-none")).to_be_visible()
    assert "last_received_at_to=2020-01-01T12%3A30" in page.url
    expect(page.locator("summary:has-text('2020-01-01 12:30')")).to_be_visible()


def test_the_times_can_be_switched_to_the_viewers_zone_and_back(open_page: OpenPage) -> None:
    page = open_page(timezone_id="Asia/Tokyo")
    page.goto(RUNNING)
    expect(page.locator(".st-zone")).to_contain_text("Times in UTC")
    page.click("text=Show in Asia/Tokyo")
    expect(page.locator(".st-zone")).to_contain_text("Times in Asia/Tokyo")
    expect(page.locator(".st-ends").first).to_contain_text("JST")

    page.goto(TASKS)
    expect(page.locator(".st-zone")).to_contain_text("Times in Asia/Tokyo")
    page.click("text=Show in UTC")
    expect(page.locator(".st-zone")).to_contain_text("Times in UTC")
    kept = [cookie["name"] for cookie in page.context.cookies()]
    assert "sartiq_tasks_zone" not in kept


def test_the_list_fits(open_page: OpenPage) -> None:
    for number in range(30):
        factories.record(
            task_id=f"train-lora-{number:04}-8f3ac2b1-77d9-4c7e-9b8e-0f1d2c3b4a59",
            status="failed",
            origin_zone="eu-west-1a",
            origin_instance="gpu-node-17",
            entity_id="model-12",
            error_message=f"Traceback (most recent call last):\nRuntimeError: {'long ' * 90}",
        )
    page = open_page(viewport={"width": 1280, "height": 800})
    page.goto(TASKS)
    scrolled = page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.results'))")
    heights = page.evaluate(
        "[...document.querySelectorAll('#result_list tbody tr')].map(e => e.offsetHeight)"
    )

    assert page.locator("#result_list thead th").count() == 9
    assert scrolled <= 0, "no column is cut off"
    assert max(heights) < 72, "a row is one line, and its error two at the most"

    page.set_viewport_size({"width": 1440, "height": 900})
    bottoms = page.evaluate(
        "[...document.querySelectorAll('#result_list tbody tr')].map(e => e.getBoundingClientRect().bottom)"
    )
    assert sum(bottom <= 900 for bottom in bottoms) >= 15
    error = page.locator(".field-error").first.bounding_box()
    assert error["width"] > 200, "the error has what the others leave"  # type: ignore[index]

    page.focus("#result_list tbody tr:first-child th a")
    first = page.locator("#result_list tbody tr").first
    assert first.bounding_box()["height"] > 60, "the row with the focus tells all of it"  # type: ignore[index]


#: What is not shown in full of the elements that a selector finds.
CUT = """all => all
    .filter(one => one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight + 1)
    .map(one => one.textContent)"""


def test_origin_and_error_are_whole_on_a_laptop(open_page: OpenPage) -> None:
    error = "Node gpu-a100-17 stopped answering: heartbeat missed for 90 s."
    origin = {"origin_instance": "gpu-a100-17", "origin_zone": "eu-central-1a"}
    factories.record(task_id="done", status="paused_by_user", **origin)
    factories.record(task_id="failed", status="failed", error_message=error, error_category="node", **origin)
    factories.record(task_id="short", status="failed", error_category="oom", **origin)
    page = open_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{TASKS}?origin_instance=gpu-a100-17")

    expect(page.locator(".field-error:visible")).to_have_text(["oom", error])
    assert page.locator(".st-badge, .field-origin, .field-error:visible span").evaluate_all(CUT) == []
    heights = page.locator("#result_list tbody tr").evaluate_all("all => all.map(one => one.offsetHeight)")
    assert [height < 40 for height in heights] == [False, False, True], "one line if nothing failed"


def test_on_a_phone_a_row_is_a_card(open_page: OpenPage) -> None:
    body = factories.body(task_id="train-failed", progress=101, status=5)
    factories.rejected(json.dumps(body).encode())
    page = open_page(viewport=PHONE)
    for url in (TASKS, f"{TASKS}?silent=1", EVENTS, REJECTED):
        page.goto(url)
        scrolled = page.locator(".results").evaluate("one => one.scrollWidth - one.clientWidth")
        assert scrolled <= 0, url
        parts = [
            page.locator(f"#result_list {part}").evaluate_all(
                "all => all.filter(one => one.checkVisibility())"
                ".map(one => one.className.match(/(action-checkbox|(?<=column-|field-)\\w+)/)[0])"
            )
            for part in ("thead th", "tbody tr:has(.st-failed, .field-faults_shown):first-child > *")
        ]
        assert not parts[1] or parts[0] == parts[1], "a screen reader finds each cell's head"

    page.goto(f"{TASKS}?meaning=failed")
    expect(page.locator(".field-error span")).to_be_in_viewport()
    assert page.locator(".field-error span").evaluate_all(CUT) == []
    page.click("thead a:has-text('Elapsed')")
    expect(page.locator("thead th[aria-sort=ascending]")).to_contain_text("Elapsed")


@pytest.mark.parametrize(
    ("viewport", "whole"),
    [
        ({"width": 1280, "height": 800}, ".field-id_shown, .field-task, .field-outcome_shown, .st-badge"),
        (PHONE, ".field-id_shown, .field-task_link, .field-task, .field-faults_shown"),
    ],
)
def test_no_name_of_a_usual_length_is_cut_off(open_page: OpenPage, viewport: Any, whole: str) -> None:
    name = "generation-1addf2b9642a"
    factories.record(task_id=name, status="processing")
    factories.rejected(json.dumps(factories.body(task_id=name, progress=101, status=5)).encode())
    page = open_page(viewport=viewport)
    for url in (TASKS, "/admin/sartiq_tasks/taskstatusevent/", "/admin/sartiq_tasks/rejecteddelivery/"):
        page.goto(url)
        shown = page.locator(f"#result_list tbody :is({whole})")
        assert shown.count(), url
        cut = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)"
        assert shown.evaluate_all(cut) == [], url


@pytest.mark.parametrize("width", [1280, 1440])
def test_the_list_of_events_fits(open_page: OpenPage, width: int) -> None:
    for number in range(3):
        at = factories.NOON + factories.minutes(number)
        factories.record(
            at, task_id="generation-66a2c971f3a5", status="processing", progress=99.9,
            origin_zone="eu-west-1a", timestamp=at.isoformat(),
        )  # fmt: skip
    factories.record(timestamp=(factories.NOON - factories.minutes(9999)).isoformat())
    page = open_page(viewport={"width": width, "height": 800})
    page.goto("/admin/sartiq_tasks/taskstatusevent/")
    cut = page.evaluate(
        "[...document.querySelectorAll('.results, thead th *, #result_list :is(.field-received,"
        " .field-event_clock, .field-task_link,"
        " .field-progress_shown, .st-badge, .field-zone)')]"
        ".filter(e => e.scrollWidth > e.clientWidth && getComputedStyle(e).display != 'inline')"
        ".map(e => e.outerHTML.slice(0, 99))"
    )
    clocks = page.locator(".field-event_clock").all_inner_texts()

    assert cut == [], "no column, time or status is cut off"
    assert clocks[1:4] == ["12:02:00.000", "12:01:00.000", "12:00:00.000"]
    assert clocks[0] == "2026-04-24 13:21", "the date of an event that came on another day"
    kind = page.locator(".field-event_type_shown").first
    assert kind.evaluate("cell => cell.scrollWidth <= cell.clientWidth"), "it is whole"
    for name in ("task_link", "event_type_shown"):
        cell = page.locator(f".field-{name}").nth(1)
        assert cell.locator("[title]").get_attribute("title") == cell.inner_text(), "the whole on hover"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_follow_the_systems_colours(open_page: OpenPage, scheme: Any) -> None:
    page = open_page(color_scheme=scheme)
    page.goto(FAILED)

    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", colour)[:3])) / 3
    assert (brightness > 200) == (scheme == "light")
    assert (brightness < 60) == (scheme == "dark")


def test_a_phone_shows_every_page_without_scrolling_sideways(open_page: OpenPage) -> None:
    page = open_page(viewport=PHONE)
    for url in ["/admin/", "/admin/sartiq_tasks/", *own_pages()]:
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], url


def test_without_javascript_everything_is_there(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(TASKS)
    expect(page.locator("#st-live")).to_be_hidden()
    page.click("#st-count-failed")
    page.click("#result_list a:has-text('train-failed')")

    expect(page.locator("#st-timeline .st-event")).to_have_count(9)
    expect(page.locator("#st-plot")).to_be_visible()
    page.click("text=Values as a table")
    expect(page.get_by_role("row", name=re.compile("70 % 7"))).to_be_visible()
    page.click(".st-run summary")
    expect(page.locator("#st-timeline .st-event").nth(2)).to_be_visible()


def test_without_javascript_a_long_timeline_has_pages(open_page: OpenPage) -> None:
    long_task(130)
    page = open_page(java_script_enabled=False)
    page.goto(LONG)
    expect(page.locator(".st-event")).to_have_count(100)
    page.click("text=Earlier events")
    expect(page.locator(".st-event")).to_have_count(30)
    page.click("text=To the newest events")
    expect(page.locator(".st-event")).to_have_count(100)


def test_no_page_breaks_a_strict_content_security_policy(open_page: OpenPage) -> None:
    page = open_page()
    hold_to_strict_policy(page)
    for url in ["/admin/", "/admin/sartiq_tasks/", *own_pages()]:
        page.goto(url)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.violations") == [], url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: OpenPage, scheme: Any) -> None:
    page = open_page(color_scheme=scheme, bypass_csp=True)  # axe itself writes styles
    found = []
    for url in own_pages():
        page.goto(url)
        found += [
            (url, violation["id"], node["target"], node["failureSummary"])
            for violation in Axe().run(page).response["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]
    assert found == []


def test_what_was_wrong_begins_where_the_other_values_do(open_page: OpenPage) -> None:
    kept = factories.rejected(b'{"progress": 101, "task_id": "a"}')
    page = open_page()
    page.goto(f"{REJECTED}{kept.pk}/change/")
    lefts = page.evaluate(
        "[...document.querySelectorAll('.field-received .readonly, .readonly ul, .readonly .help')]"
        ".map((one) => one.getBoundingClientRect().left + parseFloat(getComputedStyle(one).paddingLeft))"
    )

    assert len(lefts) == 3
    assert max(lefts) - min(lefts) < 2
