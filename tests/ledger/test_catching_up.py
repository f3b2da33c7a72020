"""Reactions to events that were in the ledger before their handler was."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tasks.handlers.registry import by_name, declaring, on_event
from tasks.ledger import catching_up
from tasks.ledger.catching_up import react_to_ledger
from tasks.models import Reaction
from tests.factories import NOON, record


@pytest.mark.django_db(transaction=True)
def test_others_may_write_while_it_goes_from_task_to_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        try:
            record(task_id="meanwhile")
        finally:
            connection.close()

    monkeypatch.setattr(catching_up, "STEP", 2)
    for number in range(5):
        record(task_id=f"task-{number}")
    with declaring():
        on_event(name="late")(print)
        steps = react_to_ledger(by_name()["late"], since=NOON)
        assert next(steps)[1] == 1
        writer = threading.Thread(target=write)
        writer.start()
        writer.join()
        assert len(list(steps)) == 4

    assert Reaction.objects.filter(handler="late").count() == 6


@pytest.mark.django_db
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_task_that_lacks_nothing_is_not_locked(dry_run: bool) -> None:
    record(task_id="late", metadata={"a": 1})
    with declaring():
        on_event(name="late")(print)
        record(task_id="known")
        with CaptureQueriesContext(connection) as captured:
            found = list(react_to_ledger(by_name()["late"], since=NOON, dry_run=dry_run))

    assert found == [("late", 1)]
    locked = [query["sql"] for query in captured if query["sql"].startswith("UPDATE")]
    assert len(locked) == (0 if dry_run else 1)
    assert not any('"metadata"' in query["sql"] for query in captured)
