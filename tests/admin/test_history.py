"""The parts of a task's page that it fetches: bounded, and each event once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from tasks.admin import history
from tasks.admin.addresses import task_url
from tasks.conf import app_settings
from tasks.models import Task, TaskStatusEvent
from tests.factories import NOON, minutes, record, user

pytestmark = pytest.mark.django_db
PAGE = task_url("task-1")
PART = PAGE.replace("/change/", "/part/")


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: Any) -> None:
    for name, size in {"PAGE": 10, "BLOCK": 5, "CONTEXT": 3}.items():
        monkeypatch.setattr(history, name, size)


def events(count: int, first: int = 0) -> list[int]:
    """Events that each change the status; return their ids."""
    return [
        record(NOON + minutes(number), status=f"s{number}", progress=1).event_id
        for number in range(first, first + count)
    ]


def text_of(client: Client, address: str, **query: int) -> str:
    answer = client.get(address, query)
    assert answer.status_code == 200, address
    return answer.content.decode()


def blocks(html: str) -> list[tuple[int, list[str]]]:
    """The first id of each block, and the statuses in it."""
    found = re.findall(r'<ol class="st-events" id="st-block-(\d+)".*?</ol>', html, re.DOTALL)
    parts = re.split(r'<ol class="st-events"', html)[1:]
    return [
        (int(first), re.findall(r"</span> (s\d+)</span>", part))
        for first, part in zip(found, parts, strict=True)
    ]


def earlier(html: str) -> int | None:
    found = re.search(r'data-part="\.\./part/\?before=(\d+)"', html)
    return int(found[1]) if found else None


def statuses(html: str) -> list[str]:
    return [status for _first, told in blocks(html) for status in told]


def test_a_page_at_a_time_from_the_newest_to_the_first(admin_client: Client) -> None:
    events(23)
    html = text_of(admin_client, PAGE)
    told = statuses(html)
    while (before := earlier(html)) is not None:
        html = text_of(admin_client, PART, before=before)
        assert len(blocks(html)) <= 2
        assert "st-plots" not in html
        told += statuses(html)

    assert told == [f"s{number}" for number in range(22, -1, -1)]


def test_without_javascript_an_earlier_page_is_a_page(admin_client: Client) -> None:
    ids = events(12)
    record(NOON + minutes(99), status="running")
    html = text_of(admin_client, PAGE, before=ids[3])

    assert statuses(html) == ["s2", "s1", "s0"]
    assert earlier(html) is None
    assert 'href="?"' in html
    assert "data-grows" not in html
    assert "data-seconds" not in html


@pytest.mark.parametrize("before", ["", "x", "-1", "1.5", "９", "9" * 30])  # noqa: RUF001 (full width)
def test_an_invalid_id_asks_for_the_newest(admin_client: Client, before: str) -> None:
    events(2)

    assert statuses(admin_client.get(PAGE, {"before": before}).content.decode()) == ["s1", "s0"]


@pytest.mark.parametrize("new", [0, 1, 3, 4, 8])
def test_a_live_page_fetches_its_newest_block_and_what_is_new(admin_client: Client, new: int) -> None:
    ids = events(7)
    shown = blocks(text_of(admin_client, PAGE))
    assert shown == [(ids[5], ["s6", "s5"]), (ids[0], ["s4", "s3", "s2", "s1", "s0"])]

    later = events(new, first=7)
    html = text_of(admin_client, PART, since=ids[5], after=ids[6])

    assert 'id="st-state"' in html
    assert ('id="st-plots"' in html) == bool(new)
    expected = [f"s{number}" for number in range(6 + new, 4, -1)] if new else []
    assert statuses(html) == expected
    assert {first for first, _told in blocks(html)} == ({ids[5], *later[3:4]} if new else set())


def test_a_page_that_has_slept_gets_the_newest_page(admin_client: Client) -> None:
    ids = events(2)
    events(30, first=2)
    html = text_of(admin_client, PART, since=ids[0], after=ids[1])

    assert statuses(html) == [f"s{number}" for number in range(31, 21, -1)]
    assert earlier(html)


def test_the_first_event_of_a_block_is_told_in_the_light_of_those_before_it(admin_client: Client) -> None:
    events(8)
    html = text_of(admin_client, PAGE)

    for number in range(1, 8):
        assert f"status: s{number - 1} → s{number}<" in html


def test_a_late_event_of_the_next_block_is_marked(admin_client: Client) -> None:
    for number in range(5):
        record(NOON + minutes(10), timestamp=(NOON + minutes(number)).isoformat(), status=f"s{number}")
    record(NOON + minutes(10), timestamp=(NOON + minutes(3.5)).isoformat(), status="s9")

    assert text_of(admin_client, PAGE).count("↩ late") == 1


def test_events_that_change_only_the_progress_are_folded(admin_client: Client) -> None:
    recorded = [record(NOON + minutes(number), status="s0", progress=number / 10) for number in range(5)]
    html = text_of(admin_client, PAGE)

    assert f'<details id="st-run-{recorded[1].event_id}"><summary>' in html
    assert "<span>4 events that change only the progress</span> <b>0.1 % → 0.4 %</b>" in html
    assert "in 3 min" in html


def test_events_that_change_nothing_are_folded_too(admin_client: Client) -> None:
    for number in range(4):
        record(status="s0", progress=7, timestamp=(NOON + minutes(number)).isoformat())

    assert "<b>7 %</b>" in text_of(admin_client, PAGE)


def test_a_task_of_which_all_events_were_pruned(admin_client: Client) -> None:
    record()
    TaskStatusEvent.objects.all().delete()
    html = text_of(admin_client, PAGE)

    assert blocks(html) == []
    assert earlier(html) is None
    assert text_of(admin_client, PART)


@pytest.mark.parametrize("count", [3, 60])
def test_the_queries_of_a_part(admin_client: Client, django_assert_num_queries: Any, count: int) -> None:
    ids = events(count)
    text_of(admin_client, PART)

    # Session, user, task, the events from the newest block on.
    with django_assert_num_queries(4):
        text_of(admin_client, PART, since=ids[-2], after=ids[-1])
    # And the events before it, and those to draw.
    with django_assert_num_queries(6):
        text_of(admin_client, PART, since=ids[-2], after=ids[-2])


def test_a_refresh_is_small_after_2000_events(admin_client: Client, monkeypatch: Any) -> None:
    monkeypatch.undo()
    ids = [record(NOON + minutes(number), progress=number / 20).event_id for number in range(2000)]
    page = text_of(admin_client, PAGE)
    (since,) = re.findall(r'data-from="(\d+)"', page)[:1]

    nothing = text_of(admin_client, PART, since=int(since), after=ids[-1])
    new = text_of(admin_client, PART, since=int(since), after=ids[-2])
    assert len(nothing) < 6_000
    assert len(new) < 36_000
    assert len(page) < 100_000


@pytest.mark.parametrize(
    ("permissions", "status"), [((), 403), (("view_task",), 200), (("view_taskstatusevent",), 403)]
)
def test_who_may_see_a_part(client: Client, permissions: tuple[str, ...], status: int) -> None:
    record(status="s0")
    client.force_login(user(*permissions, is_staff=True))
    answer = client.get(PART)

    assert answer.status_code == status
    assert b"/taskstatusevent/" not in answer.content


def test_an_anonymous_viewer_is_led_to_the_login(client: Client) -> None:
    assert client.get(PART).status_code == 302


@pytest.mark.parametrize("task_id", ["", ".", "..", "a/b", "\0", "none"])
def test_the_part_of_any_id(admin_client: Client, task_id: str) -> None:
    if task_id not in ("\0", "none"):
        record(task_id=task_id)
    answer = admin_client.get(task_url(task_id).replace("/change/", "/part/"))

    assert answer.status_code == (404 if task_id in ("\0", "none") else 200)


def test_all_events_are_known_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task with one more has no phases on its page."""
    monkeypatch.setattr(history, "MAX_WHOLE", 3)
    for number, known in ((0, 1), (1, 2), (2, 3), (3, None)):
        record(NOON + minutes(number), progress=number)
        whole = history.history(Task.objects.get(), app_settings()).whole
        assert (whole and len(whole)) == known
