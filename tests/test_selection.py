"""Each case runs on one database at least, and on each database where that may make a difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.selection import ONCE, SLOW, needs_each_database, reaches_database

ROOT = Path(__file__).resolve().parent.parent


def test_what_reaches_the_database_is_run_on_each_unless_it_is_named(request: pytest.FixtureRequest) -> None:
    once = [item for item in request.session.items if not needs_each_database(item)]

    assert all(not reaches_database(item) or item.nodeid.startswith(ONCE) for item in once)
    assert bool(once) is not request.config.getoption("second_database")


@pytest.mark.django_db
def test_this_one_is_run_on_each_database(request: pytest.FixtureRequest) -> None:
    assert needs_each_database(request.node)


@pytest.mark.parametrize("named", sorted({*SLOW, *ONCE}))
def test_what_is_named_exists(named: str) -> None:
    path, _, name = named.partition("::")

    assert (ROOT / path).exists()
    assert f"def {name}" in (ROOT / path).read_text() if name else True
