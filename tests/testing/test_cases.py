"""The same calls come under ``TestCase`` and ``TransactionTestCase``, and under pytest's marks for both."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import TestCase, TransactionTestCase

from tasks.handlers import Change, GiveUp, RetryLater, on_change, on_event
from tasks.handlers.registry import declaring
from tasks.models import Reaction
from tasks.signals import event_recorded
from tasks.testing import Compute, ComputeTestMixin, Handlers, orders, story

DAY = timedelta(days=1)
#: Refund fails at first; of the other handler the second call is put off, and then given up.
EXPECTED = {
    "signal": [1, 2, 3],
    "refund": [(3, 1), (3, 2), "committed"],
    "later": [(1, 1), "committed", (2, 1), "committed", (2, 1), "committed", (3, 1), "committed"],
    "effects": ["refund-3"],
    "reactions": [("later", 1, "done"), ("later", 2, "dead"), ("later", 3, "done"), ("refund", 3, "done")],
}


def calls_of(compute: Compute, handlers: Handlers) -> dict[str, list[Any]]:
    """Return what is called, by whom and in order, while a cluster posts a story and a worker runs."""
    called: dict[str, list[Any]] = defaultdict(list)

    def receive(sender: object, task: Any, **kwargs: Any) -> None:
        called["signal"].append(task.event_count)

    with declaring():

        @on_change(to="failed", name="refund")
        def refund(change: Change) -> None:
            called["refund"].append((change.seq, change.attempt))
            Group.objects.create(name=f"refund-{change.seq}")
            transaction.on_commit(lambda: called["refund"].append("committed"))
            if change.attempt == 1:
                raise ValueError

        @on_event(name="later", atomic=False, event_type="training_status_update")
        def later(change: Change) -> None:
            called["later"].append((change.seq, change.attempt))
            transaction.on_commit(lambda: called["later"].append("committed"))
            if change.seq == 2:
                raise RetryLater(seconds=60) if called["later"].count((2, 1)) == 1 else GiveUp("enough")

        event_recorded.connect(receive)
        try:
            for body in story("training", ends="failed", seed=1)[:2]:
                compute.post(body)
            compute.post(story("training", ends="failed", seed=1)[-1])
            handlers.run()
            handlers.run(after=DAY)
            handlers.run(after=DAY, kill_at="committed")
        finally:
            event_recorded.disconnect(receive)
        groups, reactions = (
            Group.objects.filter(name__startswith="refund"),
            Reaction.objects.order_by("handler", "seq"),
        )
        called["effects"] = list(groups.values_list("name", flat=True))
        called["reactions"] = list(reactions.values_list("handler", "seq", "state"))
    return called


class Calls(ComputeTestMixin):
    """One test for both."""

    def test_calls(self) -> None:
        assert calls_of(self.compute, self.handlers) == EXPECTED


class InTestCase(Calls, TestCase):
    """In the transaction of a test."""


class InTransactionTestCase(Calls, TransactionTestCase):
    """Without one."""


@pytest.mark.django_db
def test_the_fixtures_in_the_transaction_of_a_test(compute: Compute, handlers: Handlers) -> None:
    assert calls_of(compute, handlers) == EXPECTED


@pytest.mark.django_db(transaction=True)
def test_the_fixtures_without_one(compute: Compute, handlers: Handlers) -> None:
    assert calls_of(compute, handlers) == EXPECTED


@pytest.mark.django_db
def test_what_is_not_done_is_told_with_its_errors(compute: Compute, handlers: Handlers) -> None:
    @on_change(to="failed", name="refund")
    def refund(change: Change) -> None:
        raise ValueError("no such account")

    compute.post(task_id="t1", status="failed")
    compute.post(task_id="t2", status="failed")
    handlers.run()

    told = r"refund did 0 of t1:\nrefund: t1 #1: None → failed, pending, 1 attempts\n(?s:.*)no such account"
    with pytest.raises(AssertionError, match=told) as raised:
        handlers.assert_done("refund", task_id="t1")
    assert "t2" not in str(raised.value)
    with pytest.raises(AssertionError, match=r"These are pending:\n(?s:.*)refund: t2 #1: None → failed"):
        handlers.assert_nothing_pending()


@pytest.mark.parametrize("order", orders(story("training", ends="failed", task_id="t1"), n=10))
def test_whatever_the_order(order: list[Any], compute: Compute, handlers: Handlers) -> None:
    on_change(to="failed", name="refund")(lambda change: Group(name=change.task_id).save())
    for body in order:
        compute.post(body)
        handlers.run()

    assert Group.objects.filter(name="t1").count() == 1
    handlers.assert_done("refund", task_id="t1", times=1)
    handlers.assert_nothing_pending()
