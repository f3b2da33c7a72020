"""The callbacks of a commit are called once, although a test's transaction never commits."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.test import TestCase

from tasks.testing.commits import as_if_committed

pytestmark = pytest.mark.django_db


def test_callbacks_are_called_in_order_with_those_that_they_add_and_no_others() -> None:
    called: list[str] = []
    transaction.on_commit(lambda: called.append("before"))

    def add() -> None:
        called.append("first")
        transaction.on_commit(lambda: called.append("added"))

    with TestCase.captureOnCommitCallbacks(execute=True) as captured:
        with as_if_committed():
            transaction.on_commit(add)
            transaction.on_commit(lambda: called.append("second"))
        assert called == ["first", "second", "added"]

    assert captured == [], "nothing calls them again"


def test_those_that_were_rolled_back_are_not_called_though_the_block_raises() -> None:
    called: list[str] = []

    def undone() -> None:
        with transaction.atomic():
            transaction.on_commit(lambda: called.append("undone"))
            raise ValueError("no")

    def block() -> None:
        with as_if_committed():
            transaction.on_commit(lambda: called.append("kept"))
            undone()

    with pytest.raises(ValueError, match="no"):
        block()

    assert called == ["kept"]


@pytest.mark.parametrize("robust", [True, False])
def test_one_that_raises(robust: bool, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("no")

    def block() -> None:
        with as_if_committed():
            transaction.on_commit(fail, robust=robust)

    if robust:
        block()
        assert "A callback of on_commit() raised: <function " in caplog.text
    else:
        with pytest.raises(ValueError, match="no"):
            block()
