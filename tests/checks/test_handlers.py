"""Each wrong declaration of a handler has an error of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.checks import Tags, run_checks
from django.db import connection

from tasks.checks.handlers import check_waiting
from tasks.handlers import Change, on_change, on_event
from tasks.handlers.registry import declaring
from tasks.handlers.worker import mark_seen
from tasks.models import Handler, Reaction
from tests.factories import record


@pytest.fixture(autouse=True)
def no_others() -> Iterator[None]:
    """Know no handler but those that the test declares."""
    with declaring():
        yield


def react(change: Change) -> None:
    """React to nothing."""


async def react_later(change: Change) -> None:
    """React to nothing, asynchronously."""


def codes() -> list[str]:
    found = [str(message.id) for message in run_checks(tags=["sartiq_tasks"])]
    return [code for code in found if code.startswith("sartiq_tasks.E05")]


def test_valid_declarations_pass() -> None:
    on_change(to={"failed", "cancelled"}, name="shop:refund-credits_2.0")(react)
    on_event(event_type="whatever", name="x" * 100)(react)
    on_change()(react)

    assert codes() == []


@pytest.mark.parametrize(
    ("declare", "code"),
    [
        (lambda: on_change(name="")(react), None),  # the name is then that of the function
        (lambda: on_change(name="two words")(react), "E051"),
        (lambda: on_event(name='a"b')(react), "E051"),
        (lambda: on_event(name="x" * 101)(react), "E051"),
        (lambda: on_event(name="é")(react), "E051"),
        (lambda: on_change(name="x\n")(react), "E051"),
        (lambda: on_change(name=".")(react), "E051"),
        (lambda: on_change(name="..")(react), "E051"),
        (lambda: on_change(name="...")(react), None),
        (lambda: on_change(name=".x")(react), None),
        (lambda: on_change()(react_later), "E052"),  # type: ignore[type-var]
        (lambda: on_event()(react_later), "E052"),  # type: ignore[type-var]
        (lambda: on_change(to="done")(react), "E053"),
        (lambda: on_change(to=["failed", "Failed"])(react), "E053"),
    ],
)
def test_each_fault_has_its_code(declare: Callable[[], Any], code: str | None) -> None:
    declare()

    assert codes() == ([f"sartiq_tasks.{code}"] if code else [])


def test_two_of_one_name_are_both_named() -> None:
    on_change(name="refund")(react)
    on_event(name="refund")(react)
    on_event(name="other")(react)

    assert codes() == ["sartiq_tasks.E050"] * 2


class Apart:
    """Routes reactions to a database of their own."""

    def db_for_write(self, model: type, **hints: Any) -> str | None:
        return "elsewhere" if model is Reaction else None


def test_reactions_on_another_database_than_events(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.Apart"]

    assert codes() == ["sartiq_tasks.E054"]


@pytest.mark.django_db(transaction=True)
def test_reactions_that_wait_for_nobody() -> None:
    def waiting() -> list[str]:
        found = run_checks(tags=[Tags.database], databases=["default"])
        return [str(message.id) for message in found if str(message.id).startswith("sartiq_tasks.W05")]

    on_change(name="unserved")(react)
    assert waiting() == []
    with declaring():
        on_change(name="gone")(react)
        record()
    assert waiting() == ["sartiq_tasks.W050"]
    Reaction.objects.all().delete()
    record(status="failed", timestamp="2030-01-01T00:00:00Z")
    assert waiting() == ["sartiq_tasks.W051"]
    assert check_waiting(databases=["other"]) == check_waiting() == []
    mark_seen(["unserved"], "default")
    assert waiting() == []


@pytest.mark.django_db(transaction=True)
def test_before_the_first_migration_nothing_is_said() -> None:
    table = Handler._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
        try:
            assert check_waiting(databases=["default"]) == []
        finally:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")
