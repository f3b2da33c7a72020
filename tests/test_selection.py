"""Each case runs on one database at least, and on each database where that may make a difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.selection import (
    COVERING,
    EACH_VERSION,
    ONCE,
    SLOW,
    TRIALS,
    counts_for_coverage,
    is_slow,
    is_trial,
    needs_each_database,
    reaches_database,
)

ROOT = Path(__file__).resolve().parent.parent


def test_what_reaches_the_database_is_run_on_each_unless_it_is_named(request: pytest.FixtureRequest) -> None:
    once = [item for item in request.session.items if not needs_each_database(item)]

    assert all(not reaches_database(item) or item.nodeid.startswith(ONCE) for item in once)
    assert bool(once) is not request.config.getoption("second_database")


def test_coverage_is_counted_in_fast_cases_and_in_the_named_ones(
    request: pytest.FixtureRequest,
) -> None:
    slow = [item for item in request.session.items if is_slow(item) and not is_trial(item)]

    assert all(counts_for_coverage(item) is item.nodeid.startswith(COVERING) for item in slow)
    assert counts_for_coverage(request.node) is not request.config.getoption("second_database")


def test_a_trial_is_slow_and_never_counted_for_coverage(request: pytest.FixtureRequest) -> None:
    trials = [item for item in request.session.items if is_trial(item)]

    assert all(is_slow(item) and not counts_for_coverage(item) for item in trials)
    assert all(item.get_closest_marker("slow") and item.get_closest_marker("trial") for item in trials)
    assert not is_trial(request.node)


@pytest.mark.django_db
def test_this_one_is_run_on_each_database(request: pytest.FixtureRequest) -> None:
    assert needs_each_database(request.node)


@pytest.mark.parametrize("named", sorted({*SLOW, *TRIALS, *ONCE, *COVERING, *EACH_VERSION}))
def test_what_is_named_exists(named: str) -> None:
    path, _, name = named.partition("::")

    assert (ROOT / path).exists()
    assert f"def {name}" in (ROOT / path).read_text() if name else True
