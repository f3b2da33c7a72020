"""The progress and the numbers of the metadata over time."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tasks.admin import history
from tasks.admin.addresses import event_url, task_url
from tasks.admin.plots import Plots, plots
from tasks.conf import app_settings
from tasks.models import Task
from tests.factories import NOON, minutes, record, user

pytestmark = pytest.mark.django_db
PAGE = task_url("task-1")


def at(number: float) -> str:
    return (NOON + minutes(number)).isoformat()


def told() -> history.History:
    return history.history(Task.objects.get(task_id="task-1"), app_settings())


def drawn() -> Plots | None:
    return plots(told().drawn, told().metadata)


def lines(*metadata: Any) -> dict[str, str]:
    """The lines that are drawn of events a minute apart with ``metadata``, but for the progress."""
    for number, one in enumerate(metadata):
        record(NOON + minutes(number), metadata=one, progress=number)
    found = drawn()
    assert found is not None
    return {plot.name: plot.line for plot in found.plots[1:]}


def test_progress() -> None:
    record(NOON, timestamp=at(0), progress=0)
    record(NOON, timestamp=at(1), progress=50)
    record(NOON, timestamp=at(4), progress=100)
    found = drawn()

    assert found is not None
    assert [(x, y) for x, y, _entry in found.changes] == [("0.0", "120.0")]
    assert [plot.line for plot in found.plots] == ["0.0,120.0 160.0,60.0 640.0,0.0"]
    assert [(row.x, list(row.values)) for row in found.rows] == [
        ("0.0", ["0 %"]), ("160.0", ["50 %"]), ("640.0", ["100 %"])
    ]  # fmt: skip
    assert (found.start, found.end) == (NOON, NOON + minutes(4))


@pytest.mark.parametrize("count", [0, 1])
def test_no_plot_of_one_time(count: int) -> None:
    for _number in range(count):
        record(NOON)

    assert plots(told().drawn if count else [], {}) is None


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "0001-12-31T00:00:00Z"])
def test_an_end_of_the_calendar_has_no_place_in_the_plot(end: str) -> None:
    for number, timestamp in enumerate([end, at(0), at(4)]):
        record(NOON, timestamp=timestamp, progress=number)
    found = drawn()

    assert found is not None
    assert (found.start, found.end) == (NOON, NOON + minutes(4))


def test_numbers_of_the_metadata() -> None:
    assert lines(
        {"loss": 3, "lr": 1e-4, "same": 8, "word": "a", "flag": False, "gpu": {"use": 50, "name": "H100"}},
        None,
        {"loss": 1, "lr": 2e-4, "same": 8, "word": "b", "flag": True, "gpu": {"use": 90, "deep": {"x": 1}}},
        {"loss": 2, "gpu": {"deep": {"x": 2}}},
    ) == {
        "loss": "0.0,0.0 426.7,120.0 640.0,60.0",
        "lr": "0.0,120.0 426.7,0.0",
        "gpu.use": "0.0,120.0 426.7,0.0",
    }


@pytest.mark.parametrize(
    ("first", "last"),
    [(-1.7e308, 1.7e308), (5e-324, 1e-323), (-2, -1), (10**300, 10**300 + 10**290), (0, 1)],
)
def test_any_two_numbers(first: float, last: float) -> None:
    assert lines({"n": first}, {"n": last}) == {"n": "0.0,120.0 640.0,0.0"}


@pytest.mark.parametrize("number", [10**400, True, None, "5", [5], {}])
def test_values_that_cannot_be_drawn(number: Any) -> None:
    assert lines({"n": number, "m": 1}, {"n": number, "m": 2}) == {"m": "0.0,120.0 640.0,0.0"}


def test_the_most_frequent_numbers_are_drawn() -> None:
    first = {f"n{number}": 0 for number in range(9)}

    assert list(lines({**first, "rare": 1}, {"rare": 2}, dict.fromkeys(first, 1), first)) == [
        "n0", "n1", "n2", "n3", "n4", "n5",
    ]  # fmt: skip


def test_large_metadata_is_not_drawn(monkeypatch: Any) -> None:
    monkeypatch.setattr(history, "MAX_METADATA", 100)

    assert lines({"n": 1}, {"n": 2, "x": "ab" * 60}, {"n": 3}) == {"n": "0.0,120.0 640.0,0.0"}


@pytest.mark.parametrize("count", [150, 151, 400])
def test_many_events_are_drawn_from_some(count: int) -> None:
    for number in range(count):
        record(NOON + minutes(number), progress=number / 10, status="new" if number == 77 else "running")
    found = told()

    assert len(found.drawn) <= 155
    assert {0.0, 7.7, (count - 1) / 10} <= {entry.event.progress for entry in found.drawn}
    assert found.whole is not None
    assert len(found.whole) == count


def test_a_status_that_always_changes_is_drawn_from_some(monkeypatch: Any) -> None:
    monkeypatch.setattr(history, "MAX_DRAWN", 5)
    for number in range(40):
        record(NOON + minutes(number), status=f"s{number}")

    assert 5 <= len(told().drawn) <= 10


def text_of(client: Client) -> str:
    return client.get(PAGE).content.decode()


def test_the_page_has_the_plots_their_values_and_the_latest_metadata(admin_client: Client) -> None:
    record(NOON, metadata={"loss": 0.5, "<b>": 1})
    latest = record(NOON + minutes(1), metadata={"loss": 0.25, "<b>": 2, "words": "<i>"})
    record(NOON + minutes(2), progress=7)
    html = text_of(admin_client)

    assert 'aria-label="loss, between 0.25 and 0.5, from 2026-05-01 12:00:00.000 UTC to' in html
    assert '<th scope="row">2026-05-01 12:01:00.000</th><td>5 %</td><td>2</td><td>0.25</td>' in html
    assert '<th scope="row">2026-05-01 12:02:00.000</th><td>7 %</td><td></td><td></td>' in html
    assert "<figcaption>&lt;b&gt; <output>" in html
    assert html.index('<details class="st-json" id="st-metadata" open>') < html.index("&lt;i&gt;")
    assert f'<a href="{event_url(latest.event_id)}">The event</a>' in html


def test_the_latest_metadata_is_that_of_the_event_that_is_last_in_time(admin_client: Client) -> None:
    record(NOON, timestamp=at(5), metadata={"of": "last"})
    record(NOON, timestamp=at(1), metadata={"of": "late"})
    record(NOON, timestamp=at(6))
    html = text_of(admin_client)

    assert "&quot;last&quot;" in html
    assert "&quot;late&quot;" not in html


@pytest.mark.parametrize("metadata", [None, {}])
def test_no_metadata(admin_client: Client, metadata: Any) -> None:
    record(metadata=metadata)

    assert ("Latest metadata" in text_of(admin_client)) == (metadata == {})


def test_metadata_that_is_too_large_refers_to_its_event(admin_client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(history, "MAX_METADATA", 100)
    event = record(metadata={"x": "ab" * 60})
    html = text_of(admin_client)

    assert "It is too large to show here" in html
    assert "abab" not in html
    assert f'<a href="{event_url(event.event_id)}">The event</a>' in html


def test_without_permission_to_see_events_there_is_no_link_to_one(client: Client) -> None:
    record(metadata={"a": 1})
    client.force_login(user("view_task", is_staff=True))

    html = text_of(client)
    assert "Latest metadata" in html
    assert "The event</a>" not in html
