"""The order of two events, and the meaning of a status."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.conf import AppSettings
from tasks.lifecycle import REGISTERS, Meaning, Phase, State, event_time, fold, meaning_of, merge, state_of
from tasks.serializers import task_status_event
from tests.factories import NOON, body, minutes

SETTINGS = AppSettings()


def state(received_at: datetime = NOON, *, event_id: int = 1, tie: bytes = b"a", **changes: Any) -> State:
    event = task_status_event.run_validation(body(**changes))
    return state_of(event, event_id=event_id, received_at=received_at, tie=tie, settings=SETTINGS)


def at(minute: float) -> str:
    return (NOON + minutes(minute)).isoformat()


def in_every_order(*states: State) -> State:
    folded = [fold(order) for order in permutations(states)]
    assert all(other == folded[0] for other in folded)
    return folded[0]


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("pending", Meaning.QUEUED),
        ("PENDING", Meaning.QUEUED),
        ("running", Meaning.RUNNING),
        ("In-Progress", Meaning.RUNNING),
        ("in progress", Meaning.RUNNING),
        ("Completed", Meaning.SUCCEEDED),
        ("FAILED", Meaning.FAILED),
        ("canceled", Meaning.CANCELLED),
        (" cancelled ", Meaning.CANCELLED),
        ("unheard-of", Meaning.OTHER),
        ("other", Meaning.OTHER),
        ("", Meaning.OTHER),
        (None, Meaning.OTHER),
    ],
)
def test_meaning(status: str | None, meaning: Meaning) -> None:
    assert meaning_of(status, SETTINGS) is meaning


def test_meanings_are_a_setting() -> None:
    settings = AppSettings(statuses={"running": ("Baking",)})

    assert meaning_of("baking", settings) is Meaning.RUNNING
    assert meaning_of("running", settings) is Meaning.OTHER
    assert meaning_of("done", settings) is Meaning.SUCCEEDED


@pytest.mark.parametrize(
    ("meaning", "terminal"),
    [(m, m in (Meaning.SUCCEEDED, Meaning.FAILED, Meaning.CANCELLED)) for m in Meaning],
)
def test_terminal(meaning: Meaning, terminal: bool) -> None:
    assert meaning.is_terminal is terminal


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (None, NOON),
        (NOON - minutes(1), NOON - minutes(1)),
        (NOON + minutes(5), NOON + minutes(5)),
        (NOON + minutes(5) + timedelta(microseconds=1), NOON),
    ],
)
def test_event_time(timestamp: datetime | None, expected: datetime) -> None:
    assert event_time(timestamp, NOON, minutes(5)) == expected


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        pytest.param({"timestamp": at(2)}, {"timestamp": at(1)}, id="the later timestamp"),
        pytest.param(
            {"timestamp": at(2)},
            {"timestamp": at(1), "received_at": NOON + minutes(9), "status": "completed"},
            id="the later timestamp over an end received later",
        ),
        pytest.param(
            {"received_at": NOON + minutes(9), "status": "completed"},
            {"timestamp": at(8)},
            id="an untimed end over what happened before it was received",
        ),
        pytest.param(
            {"timestamp": at(9), "received_at": NOON + minutes(9)},
            {"received_at": NOON + minutes(8), "status": "failed"},
            id="what happened after an untimed end was received, such as a retry",
        ),
        pytest.param(
            {"timestamp": at(8), "received_at": NOON + minutes(9), "status": "completed"},
            {"timestamp": at(99), "received_at": NOON + minutes(7)},
            id="an end over a wrong clock",
        ),
        pytest.param(
            {"received_at": NOON + minutes(9), "status": "completed"},
            {"timestamp": at(99), "received_at": NOON + minutes(7)},
            id="an untimed end over a wrong clock",
        ),
        *(
            pytest.param(
                {"timestamp": at(-99)},
                {"received_at": NOON + minutes(9), "status": status, "progress": 100},
                id=f"a timestamp over an untimed {status}",
            )
            for status in ("running", "pending", "unheard-of", None)
        ),
        pytest.param({"status": "failed"}, {"received_at": NOON + minutes(9)}, id="untimed: the end stays"),
        pytest.param(
            {"status": "completed", "received_at": NOON + minutes(1)},
            {"status": "failed"},
            id="untimed: the later received end",
        ),
        pytest.param({"received_at": NOON + minutes(1)}, {}, id="untimed: the later received"),
        pytest.param(
            {"received_at": NOON, "status": "cancelled"},
            {"timestamp": at(0), "received_at": NOON + minutes(1), "tie": b"z"},
            id="an untimed end received just when something happened",
        ),
        pytest.param(
            {"timestamp": at(1)},
            {"timestamp": at(600), "received_at": NOON},
            id="a wrong clock counts as the time of receipt",
        ),
        pytest.param(
            {"timestamp": at(1), "status": "completed"},
            {"timestamp": at(1), "tie": b"z"},
            id="same time: the later phase",
        ),
        pytest.param(
            {"timestamp": at(1), "progress": 7},
            {"timestamp": at(1), "progress": 6, "tie": b"z"},
            id="same time and phase: the higher progress",
        ),
        pytest.param(
            {"timestamp": at(1), "progress": 0.002},
            {"timestamp": at(1), "progress": 0.001, "tie": b"z"},
            id="same time and phase: the progress that is higher by a hair",
        ),
        pytest.param(
            {"timestamp": at(1), "progress": 1},
            {"timestamp": at(1), "progress": -0.0, "tie": b"z"},
            id="same time and phase: any progress over minus zero",
        ),
        pytest.param(
            {"timestamp": at(1), "tie": b"b"},
            {"timestamp": at(1), "tie": b"a"},
            id="all equal: the digest",
        ),
    ],
)
def test_winner(winner: dict[str, Any], loser: dict[str, Any]) -> None:
    first = state(**{"event_id": 1, "entity_id": "winner"} | winner)
    second = state(**{"event_id": 2, "entity_id": "loser"} | loser)

    merged = in_every_order(first, second)

    assert merged["last_event_id"] == 1
    assert merged["entity_id"] == "winner"
    assert merged["status"] == first["status"]
    assert merged["event_count"] == 2


@given(st.floats(0, 100), st.floats(0, 100))
@example(0.0, 5e-324)
@example(-0.0, 0.0)
@example(99.99999999999999, 100)
def test_the_higher_progress_of_equal_times_is_greater(one: float, other: float) -> None:
    lower, higher = sorted([one, other])
    keys = [
        state(timestamp=at(1), progress=progress, tie=tie)["last_order"]
        for progress, tie in ((lower, b"z"), (higher, b"a"))
    ]

    assert (keys[0] < keys[1]) == (lower < higher)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("late", ["running", "pending", "unheard-of", None])
def test_a_late_event_without_a_timestamp_undoes_no_ending(status: str, late: str | None) -> None:
    ended = state(timestamp=at(1), status=status, error_message="boom", completed_at=at(1), progress=70)
    merged = in_every_order(ended, state(received_at=NOON + minutes(99), status=late, progress=10))

    registers = {column for columns in REGISTERS.values() for column in columns} - {"first_event_id"}
    assert {column: merged[column] for column in registers} == {column: ended[column] for column in registers}


def test_an_ending_without_a_timestamp_fills_every_register() -> None:
    merged = in_every_order(
        state(timestamp=at(1), status="running", error_message="a warning", completed_at=at(0)),
        state(received_at=NOON + minutes(2), status="completed", progress=100),
        state(timestamp=at(1.5), status="running", progress=90),
    )

    assert (merged["status"], merged["progress"], merged["error_message"]) == ("completed", 100, None)
    assert merged["status_at"] == merged["last_event_at"] == NOON + minutes(2)


def test_null_status_leaves_the_status_and_moves_the_progress() -> None:
    merged = in_every_order(
        state(timestamp=at(1), status="running", progress=10),
        state(timestamp=at(2), status=None, progress=60),
    )

    assert (merged["status"], merged["meaning"], merged["progress"]) == ("running", "running", 60)
    assert merged["status_at"] == NOON + minutes(1)


def test_fields_that_an_event_leaves_out_keep_what_was_known() -> None:
    merged = in_every_order(
        state(timestamp=at(1), entity_id="e", origin_zone="eu", origin_instance="i", started_at=at(0)),
        state(timestamp=at(2), status="completed", completed_at=at(2)),
    )

    assert merged["entity_id"] == "e"
    assert (merged["origin_zone"], merged["origin_instance"]) == ("eu", "i")
    assert merged["started_at"] == NOON
    assert merged["completed_at"] == NOON + minutes(2)


def test_a_task_that_runs_again_has_neither_error_nor_end() -> None:
    failed = state(timestamp=at(1), status="failed", error_message="boom", completed_at=at(1))
    merged = in_every_order(failed, state(timestamp=at(2), status="running"))

    assert (merged["error_message"], merged["completed_at"]) == (None, None)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_second_word_of_failure_without_an_error_keeps_the_error(status: str) -> None:
    merged = in_every_order(
        state(timestamp=at(1), status="failed", error_message="boom", error_category="oom"),
        state(timestamp=at(2), status=status),
    )

    assert (merged["error_message"], merged["error_category"]) == ("boom", "oom")


def test_first_event_is_the_earliest_in_time() -> None:
    merged = in_every_order(
        state(event_id=1, timestamp=at(3)),
        state(event_id=2, timestamp=at(1)),
        state(event_id=3, received_at=NOON + minutes(2)),
    )

    assert (merged["first_event_id"], merged["first_event_at"]) == (2, NOON + minutes(1))


def phase_times(merged: State) -> dict[str, list[float | None]]:
    """Return the earliest and the latest minute of each phase."""
    return {
        phase: [
            None if time is None else (time - NOON) / minutes(1)
            for time in (merged[f"first_{phase}_at"], merged[f"last_{phase}_at"])
        ]
        for phase in ("queued", "running", "ended")
    }


def test_each_phase_has_its_earliest_and_its_latest_event() -> None:
    merged = in_every_order(
        state(timestamp=at(0), status="pending"),
        state(timestamp=at(1), status="running"),
        state(timestamp=at(4), status="In-Progress"),
        state(received_at=NOON + minutes(2), status="failed"),
        state(timestamp=at(5), status="unheard-of"),
    )

    assert phase_times(merged) == {"queued": [0, 0], "running": [1, 4], "ended": [2, 2]}


@pytest.mark.parametrize("status", [None, "pending", "running", "failed", "done", "odd"])
@pytest.mark.parametrize("timestamp", [None, "2026-05-01T11:00:00Z", "2036-05-01T11:00:00Z"])
def test_of_a_single_event_each_earliest_and_latest_time_is_one(status: Any, timestamp: Any) -> None:
    """``ledger.upsert`` sends it once."""
    single = state(status=status, timestamp=timestamp)

    for time in ("event", *Phase):
        assert single[f"first_{time}_at"] is single[f"last_{time}_at"]
    assert single["last_received_at"] == NOON


def test_a_phase_that_no_event_says_has_no_times() -> None:
    merged = in_every_order(state(status=None), state(status="odd"), state(timestamp=at(-9), status=" "))

    assert phase_times(merged) == {phase: [None, None] for phase in ("queued", "running", "ended")}


STATES = st.builds(
    state,
    received_at=st.integers(0, 3).map(lambda minute: NOON + minutes(minute)),
    event_id=st.integers(1, 9),
    tie=st.sampled_from([b"a", b"b"]),
    status=st.sampled_from([None, "pending", "running", "completed", "failed", "odd"]),
    progress=st.sampled_from([0, 50, 50.001, 100]),
    timestamp=st.sampled_from([None, at(0), at(1), at(600)]),
    error_message=st.sampled_from([None, "boom"]),
    entity_id=st.sampled_from([None, "e", "f"]),
)


@given(STATES, STATES, STATES)
def test_merge_is_associative(one: State, two: State, three: State) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(STATES, STATES)
def test_merge_is_commutative(one: State, two: State) -> None:
    if one["first_order"] != two["first_order"]:  # otherwise their ties are equal, so that they are one event
        assert merge(one, two) == merge(two, one)


@given(STATES)
def test_merge_is_idempotent_but_for_the_count(one: State) -> None:
    assert merge(one, one) == {**one, "event_count": 2}
