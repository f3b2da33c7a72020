from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from tasks.conf import app_settings
from tasks.lifecycle import Meaning, meaning_of
from tasks.serializers import task_status_event
from tasks.simulation.stories import KINDS, cluster_events, story
from tests.factories import NOON

STORIES = [story(Random(seed), NOON) for seed in range(400)]


def events(**changes: Any) -> list[dict[str, Any]]:
    given = {"tasks": 60, "until": NOON, "span": timedelta(hours=3)} | changes
    return list(cluster_events(Random(given.pop("seed", 7)), **given))


def meaning(event: dict[str, Any]) -> Meaning:
    return meaning_of(event["status"], app_settings())


def test_the_same_seed_tells_the_same_and_another_tells_something_else() -> None:
    assert events() == events()
    assert events(seed=8) != events()


def test_events_come_in_order_of_time_and_within_the_span() -> None:
    times = [datetime.fromisoformat(event["timestamp"]) for event in events()]

    assert times == sorted(times)
    assert NOON - timedelta(hours=3) <= times[0]
    assert times[-1] <= NOON


def test_there_are_as_many_tasks_as_asked_for_and_some_are_still_running() -> None:
    last = {event["task_id"]: event for event in events(tasks=200)}

    assert len(last) == 200
    assert {meaning(event) for event in last.values()} >= {
        Meaning.RUNNING,
        Meaning.SUCCEEDED,
        Meaning.FAILED,
        Meaning.CANCELLED,
    }


def test_no_task_is_no_event() -> None:
    assert events(tasks=0) == []


def test_every_event_keeps_the_contract() -> None:
    for told in STORIES:
        for _, event in told:
            assert task_status_event.run_validation(event)["unknown_fields"] == {}


def test_each_kind_is_told_with_each_of_its_failures() -> None:
    seen = defaultdict(set)
    for told in STORIES:
        last = told[-1][1]
        seen[last["task_type"]].add((last.get("error_category"), last.get("error_message")))

    for kind in KINDS:
        assert seen[kind.task_type] == {*kind.failures, (None, None)}


@pytest.mark.parametrize("told", STORIES[:50])
def test_a_story_begins_queued_and_ends_once_with_never_less_progress(told: list[Any]) -> None:
    at = [when for when, _ in told]
    bodies = [event for _, event in told]
    progress = [event["progress"] for event in bodies]

    assert meaning(bodies[0]) is Meaning.QUEUED
    assert [meaning(event).is_terminal for event in bodies] == [False] * (len(bodies) - 1) + [True]
    assert at == sorted(set(at))
    assert progress == sorted(progress)
    assert (progress[-1] == 100) == (meaning(bodies[-1]) is Meaning.SUCCEEDED)
    assert len({event["task_id"] for event in bodies}) == 1
    assert bodies[-1]["completed_at"] == bodies[-1]["timestamp"]
    assert not any("completed_at" in event for event in bodies[:-1])


@pytest.mark.parametrize("told", STORIES[:50])
def test_a_start_is_said_from_the_first_step_of_work_on(told: list[Any]) -> None:
    working = [at for at, event in told if meaning(event) is Meaning.RUNNING]

    for at, event in told:
        has_started = bool(working) and at >= working[0]
        assert event["started_at"] == (working[0].isoformat() if has_started else None)


def test_an_error_agrees_with_the_rest_of_its_story() -> None:
    failed = [told for told in STORIES if meaning(told[-1][1]) is Meaning.FAILED]
    categories = set()
    for told in failed:
        (begins, _), *_between, (at, last) = told
        category = last["error_category"]
        has_started = last["started_at"] is not None
        assert has_started == (category != "timeout") == (len(told) > 2)
        if category == "timeout":
            assert at - begins == timedelta(seconds=120)
        if category == "diverged":
            assert last["metadata"]["loss"] is None
            assert all(event["metadata"]["loss"] > 0 for _, event in told[1:-1])
        categories.add(category)
    assert {"timeout", "diverged"} < categories


def test_a_task_that_is_cancelled_in_the_queue_has_not_started() -> None:
    told = [told for told in STORIES if len(told) == 2 and meaning(told[-1][1]) is Meaning.CANCELLED]

    assert told
    assert all(last["started_at"] is None and last["metadata"] is None for _, (_at, last) in told)


def test_an_error_is_said_by_a_failure_alone() -> None:
    for told in STORIES:
        for _, event in told:
            assert (event.get("error_message") is not None) == (meaning(event) is Meaning.FAILED)
