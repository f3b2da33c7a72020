"""The outcome of an attempt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tasks.conf import app_settings
from tasks.handlers import (
    Change,
    GiveUp,
    RetryLater,
    blocked,
    claiming,
    holding,
    on_change,
    on_event,
    running,
)
from tasks.handlers.control import pause
from tasks.handlers.registry import by_name
from tasks.handlers.running import MAX_ERROR_BYTES, Outcome, attempt, text_of
from tasks.handlers.sql import database, locks_rows
from tasks.lifecycle import Meaning
from tasks.models import Reaction, Task
from tasks.testing import CRASH_POINTS, Handlers
from tests.factories import record

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_layout")]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def effects() -> list[str]:
    """Return what handlers have written to the database, in order."""
    from django.contrib.auth.models import Group

    return list(Group.objects.order_by("pk").values_list("name", flat=True))


def effect(change: Change) -> None:
    from django.contrib.auth.models import Group

    Group.objects.create(name=f"{change.task_id}-{change.seq}-{timezone.now().timestamp()}")


def claim_one(**options: Any) -> Reaction:
    (one,) = claiming.claim(list(by_name()), limit=1, lease=HOUR, **options)
    return one


@contextmanager
def put_off_for(seconds: float, jitter: float, **of: Any) -> Iterator[None]:
    """Assert that the block puts the reactions off for that long, however long the block itself takes."""
    before = timezone.now()
    yield
    after = timezone.now()
    for due in Reaction.objects.filter(**of).values_list("due_at", flat=True):
        assert timedelta(seconds=seconds * (1 - jitter)) <= due - before
        assert due - after <= timedelta(seconds=seconds * (1 + jitter))


def test_what_a_handler_is_told(handlers: Handlers) -> None:
    seen: list[dict[str, Any]] = []

    @on_change(to={Meaning.FAILED}, name="tell")
    def tell(change: Change) -> None:
        assert change.event is not None
        names = ("task_id", "seq", "previous", "status", "previous_meaning", "meaning", "attempt", "key")
        told = {name: getattr(change, name) for name in names}
        seen.append(
            told
            | {"flags": (change.is_replay, change.is_superseded)}
            | {"event": change.event.status, "task": change.task.status, "repr": repr(change)}
        )

    record(status="running", timestamp="2026-05-01T12:00:00Z")
    record(status="error", timestamp="2026-05-01T12:01:00Z")
    handlers.run()
    record(status="failed", timestamp="2026-05-01T12:03:00Z", task_id="task-2")
    record(status="running", timestamp="2026-05-01T12:04:00Z", task_id="task-2")
    handlers.run()

    assert seen[0] == {
        "task_id": "task-1",
        "seq": 2,
        "previous": "running",
        "status": "error",
        "previous_meaning": Meaning.RUNNING,
        "meaning": Meaning.FAILED,
        "attempt": 1,
        "key": "tell:task-1:2",
        "flags": (False, False),
        "event": "error",
        "task": "error",
        "repr": "<Change tell: task-1 #2: running \u2192 error>",
    }
    assert (seen[1]["previous_meaning"], seen[1]["flags"], seen[1]["task"]) == (
        None,
        (False, True),
        "running",
    )
    handlers.assert_done("tell", task_id="task-1")
    handlers.assert_nothing_pending()


def test_one_that_raises_is_tried_again_in_order_and_delays_no_other_task(handlers: Handlers) -> None:
    calls: list[tuple[str, int]] = []

    @on_event(name="strict", attempts=3)
    def strict(change: Change) -> None:
        calls.append((change.task_id, change.seq))
        if change.task_id == "bad" and change.seq == 1:
            raise ValueError("no\0t today")

    for number in range(3):
        record(task_id="bad", progress=number)
        record(task_id="good", progress=number)
    with put_off_for(5, 0.1, task="bad"):
        handlers.run()

    assert sorted(calls) == [("bad", 1), ("good", 1), ("good", 2), ("good", 3)]
    waiting = list(Reaction.objects.filter(task="bad").order_by("seq"))
    assert waiting[0].error.endswith("ValueError: no�t today\n")
    assert {one.due_at for one in waiting} == {waiting[0].due_at}, "the later ones wait with it"
    handlers.run(after=DAY)
    handlers.run(after=DAY)
    assert calls.count(("bad", 1)) == 3
    handlers.run(after=DAY)
    assert calls[-2:] == [("bad", 2), ("bad", 3)]
    assert [one.state for one in Reaction.objects.filter(task="bad").order_by("seq")] == [
        "dead",
        "done",
        "done",
    ]


def test_each_pause_is_longer_until_the_attempts_end(handlers: Handlers) -> None:
    @on_change(name="down")
    def down(change: Change) -> None:
        raise OSError

    record()
    for wait in (5, 30, 120, 600, 1800, 3600, 10800, 21600, 43200):
        with put_off_for(wait, 0.1):
            assert [one.outcome for one in handlers.run()] == [Outcome.FAILED]
        Reaction.objects.update(due_at=timezone.now())
    assert [one.outcome for one in handlers.run()] == [Outcome.DEAD]


def test_a_long_traceback_keeps_its_end(handlers: Handlers) -> None:
    @on_change(name="long")
    def long(change: Change) -> None:
        raise ValueError("é" * MAX_ERROR_BYTES + "end")

    record()
    handlers.run()

    error = Reaction.objects.get().error
    assert len(error.encode()) <= MAX_ERROR_BYTES
    assert error.endswith("end\n")


def test_a_traceback_has_only_what_a_database_can_hold() -> None:
    # By the function alone: pytest-xdist cannot carry a lone surrogate in the log of a run.
    assert text_of(ValueError("a\ud800b\0c")) == "a?b\ufffdc"
    assert text_of(RetryLater("a\ud800b\0c")) == "a?b\ufffdc"
    assert text_of(GiveUp("a\ud800b\0c")) == "Given up by the handler: a?b\ufffdc"


def test_the_reason_for_a_delay_is_stored_whatever_it_holds(handlers: Handlers) -> None:
    @on_change(name="ask")
    def ask(change: Change) -> None:
        raise RetryLater("the service answered \0" + "é" * MAX_ERROR_BYTES + "end", seconds=50)

    record()
    with put_off_for(50, 0):
        assert [one.outcome for one in handlers.run()] == [Outcome.POSTPONED]

    error = Reaction.objects.get().error
    assert len(error.encode()) <= MAX_ERROR_BYTES
    assert error.endswith("end")


@pytest.mark.parametrize("seconds", [4e7, 1e12, float("inf")])
def test_nothing_is_put_off_past_the_end_of_the_calendar(handlers: Handlers, seconds: float) -> None:
    @on_change(name="ask")
    def ask(change: Change) -> None:
        raise RetryLater(seconds=seconds)

    record()
    with put_off_for(365 * 86_400, 0):
        assert [one.outcome for one in handlers.run()] == [Outcome.POSTPONED]


def test_retry_later_costs_no_attempt_and_give_up_ends_it(handlers: Handlers) -> None:
    answers: list[Exception] = [RetryLater(seconds=50)] * 12 + [GiveUp("the channel is gone")]
    attempts: list[int] = []

    @on_change(name="ask", atomic=False, attempts=2)
    def ask(change: Change) -> None:
        attempts.append(change.attempt)
        raise answers.pop(0)

    record()
    with put_off_for(50, 0):
        assert [one.outcome for one in handlers.run()] == [Outcome.POSTPONED]
    assert handlers.run() == []
    for _ in list(answers):
        handlers.run(after=HOUR)

    assert attempts == [1] * 13
    dead = Reaction.objects.get()
    assert (dead.state, dead.attempt, dead.error) == (
        "dead",
        1,
        "Given up by the handler: the channel is gone",
    )


@pytest.mark.parametrize("error", [SystemExit(3), RecursionError(), ExceptionGroup("some", [OSError()])])
def test_whatever_it_raises_is_a_failure(handlers: Handlers, error: BaseException) -> None:
    @on_change(name="odd")
    def odd(change: Change) -> None:
        effect(change)
        raise error

    record()

    assert [one.outcome for one in handlers.run()] == [Outcome.FAILED]
    assert effects() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_killed_at_any_point(handlers: Handlers, point: str, atomic: bool) -> None:
    @on_change(name="refund", atomic=atomic)
    def refund(change: Change) -> None:
        if point == "failing" and change.attempt == 1:
            raise ValueError("and the worker dies as it is written down")
        effect(change)

    record(status="failed")
    handlers.run(kill_at=point)
    assert handlers.run() == [], "it is leased"
    handlers.run(after=HOUR)

    handlers.assert_done("refund", task_id="task-1")
    handlers.assert_nothing_pending()
    again = not atomic and point == "effect"
    assert len(effects()) == (2 if again else 1), "without a transaction: at least once"


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_was_fenced_off_changes_nothing() -> None:
    @on_change(name="refund")
    def refund(change: Change) -> None:
        effect(change)

    record()
    first = claim_one()
    second = claim_one(suspects=True, as_of=timezone.now() + 2 * HOUR)
    assert (first.pk, first.attempts, second.attempts) == (second.pk, 1, 2)

    assert attempt(first, by_name()["refund"], database()).outcome is Outcome.FENCED
    assert effects() == []
    assert attempt(second, by_name()["refund"], database()).outcome is Outcome.DONE
    assert attempt(second, by_name()["refund"], database()).outcome is Outcome.FENCED
    assert len(effects()) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_taken_over", ["before", "while it runs"])
@pytest.mark.parametrize("fails", [True, False])
def test_one_without_a_transaction_that_was_fenced_off_changes_no_reaction(
    is_taken_over: str, fails: bool
) -> None:
    called: list[int] = []

    def take_over() -> Reaction:
        return claim_one(suspects=True, as_of=timezone.now() + 2 * HOUR)

    @on_change(name="refund", atomic=False)
    def refund(change: Change) -> None:
        called.append(change.attempt)
        take_over()
        if fails:
            raise ValueError

    record()
    first = claim_one()
    if is_taken_over == "before":
        take_over()
    taken = Reaction.objects.values_list("state", "attempts", "error")

    assert attempt(first, by_name()["refund"], database()).outcome is Outcome.FENCED
    assert called == ([] if is_taken_over == "before" else [1])
    assert list(taken) == [("pending", 2, None)]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's connections do not die")
@pytest.mark.django_db(transaction=True)
def test_the_failure_of_one_that_lost_its_connection_is_written_on_another() -> None:
    @on_change(name="refund", atomic=False)
    def refund(change: Change) -> None:
        connection.connection.close()
        raise ValueError("no such account")

    record()

    assert attempt(claim_one(), by_name()["refund"], database()).outcome is Outcome.FAILED
    assert "no such account" in Reaction.objects.get().error


def test_lapsed_leases_are_returned_with_their_attempts() -> None:
    on_event(name="a")(effect)
    for number in range(3):
        record(task_id=f"task-{number}")
    one, other = claim_one(), claim_one()
    assert claiming.lapsed(["a"]) == []

    ran_out = Reaction.objects.filter(pk__in=[one.pk, other.pk])
    ran_out.update(due_at=timezone.now() - HOUR)
    ran_out.filter(pk=other.pk).update(attempts=2)

    assert sorted(claiming.lapsed(["a"])) == sorted([(one.pk, 1), (other.pk, 2)])
    assert claiming.lapsed(["b"]) == claiming.lapsed([]) == []


def test_an_attempt_is_two_statements_beside_those_of_its_handler(
    django_assert_num_queries: Any,
) -> None:
    on_event(name="a")(lambda change: None)
    record()
    one = claim_one()
    lock, mark, savepoint = 1, 1 if locks_rows(connection) else 2, 2  # a test has a transaction around it
    commit_in_two_phases = app_settings().distributed

    with django_assert_num_queries(lock + mark + savepoint + commit_in_two_phases):
        assert attempt(one, by_name()["a"], database()).outcome is Outcome.DONE


def test_attempts_without_an_outcome_end_too(handlers: Handlers) -> None:
    @on_change(name="poison", attempts=2)
    def poison(change: Change) -> None:
        raise AssertionError("not called any more")

    record()
    Reaction.objects.update(attempts=2, started_at=timezone.now())

    assert [one.outcome for one in handlers.run()] == [Outcome.DEAD]
    assert "without an outcome" in Reaction.objects.get().error


def test_only_the_earliest_of_a_task_and_handler_is_claimed_and_none_beside_one_that_runs() -> None:
    on_event(name="a")(effect)
    on_event(name="b")(effect)
    for number in range(3):
        record(task_id="one", progress=number)
        record(task_id="two", progress=number)

    claimed = claiming.claim(["a", "b"], limit=100, lease=HOUR)

    assert sorted((one.task_id, one.handler, one.seq) for one in claimed) == [
        ("one", "a", 1),
        ("one", "b", 1),
        ("two", "a", 1),
        ("two", "b", 1),
    ]
    assert claiming.claim(["a", "b"], limit=100, lease=HOUR) == []
    # A person has an earlier one tried again while a later one is being run.
    Reaction.objects.filter(seq=1).update(state="done")
    (second,) = claiming.claim(["a"], limit=1, lease=HOUR)
    first = Reaction.objects.filter(task=second.task_id, handler="a", seq=1)
    first.update(state="pending", started_at=None, due_at=timezone.now() - HOUR)
    (other,) = claiming.claim(["a"], limit=9, lease=HOUR)
    assert {(one.task_id, one.seq) for one in (second, other)} == {("one", 2), ("two", 2)}
    # When that has ended, the earlier one is next.
    assert holding.mark_done(second)
    (again,) = claiming.claim(["a"], limit=9, lease=HOUR)
    assert (again.task_id, again.seq) == (second.task_id, 1)


def test_a_blocked_reaction_is_put_off_with_the_one_that_blocks_it() -> None:
    on_event(name="a")(effect)
    for number in range(3):
        record(progress=number)
    later = timezone.now() + HOUR
    Reaction.objects.filter(seq=1).update(due_at=later, attempts=1)

    assert blocked.put_off_blocked() == 2
    assert set(Reaction.objects.values_list("due_at", flat=True)) == {later}
    assert blocked.put_off_blocked() == 0


class Turn:
    """A lock that counts how often it is taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __enter__(self) -> None:
        self.taken += 1

    def __exit__(self, *error: object) -> None:
        """Let it go."""


@pytest.mark.parametrize("count", [1, 4, 5, 9])
@pytest.mark.parametrize("shorten", [True, False])
def test_much_is_put_off_in_batches(count: int, shorten: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the locks of 20,000 rows, and between two batches others have their turn."""
    if app_settings().distributed:
        pytest.skip("Citus updates the rows of every node at once, and shortens no chain")
    monkeypatch.setattr(blocked, "BATCH", 4)
    on_event(name="a")(effect)
    before = blocked.CHAIN if shorten else 1
    for number in range(before + count):
        record(progress=number)
    if not shorten:
        Reaction.objects.filter(seq=1).update(due_at=timezone.now() + HOUR, attempts=1)
    changed: list[int] = []

    def keep(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        cursor = execute(sql, parameters, many, context)
        changed.append(context["cursor"].rowcount)
        return cursor

    turn = Turn()
    with connection.execute_wrapper(keep):
        assert (blocked.shorten_chains if shorten else blocked.put_off_blocked)(turn) == count

    assert Reaction.objects.filter(due_at__gt=timezone.now()).count() == count + (not shorten)
    assert turn.taken == len(changed) == count // 4 + 1
    assert max(changed) <= 4


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_failure_puts_off_those_that_wait_in_batches(
    handlers: Handlers, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "BATCH", 4)

    @on_event(name="a")
    def fail(change: Change) -> None:
        raise OSError

    for number in range(1 + count):
        record(progress=number)
    changed: list[int] = []

    def keep(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        cursor = execute(sql, parameters, many, context)
        if sql.startswith("UPDATE"):
            changed.append(context["cursor"].rowcount)
        return cursor

    with connection.execute_wrapper(keep):
        assert [one.outcome for one in handlers.run()] == [Outcome.FAILED]

    assert len(set(Reaction.objects.values_list("due_at", flat=True))) == 1
    assert max(changed) <= 4


def test_a_reaction_that_is_tried_again_meanwhile_is_put_off_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "BATCH", 1)
    on_event(name="a")(effect)
    for number in range(3):
        record(progress=number)
    one, put_off = claim_one(), running._put_off_later

    def meanwhile(*given: Any) -> int:
        changed = put_off(*given)
        Reaction.objects.filter(seq=1).update(due_at=timezone.now())
        return changed

    monkeypatch.setattr(running, "_put_off_later", meanwhile)
    assert running.fail(one, by_name()["a"], OSError(), database()) is Outcome.FAILED

    assert Reaction.objects.filter(due_at__gt=timezone.now()).count() == 1


def test_removing_the_events_leaves_the_reaction(handlers: Handlers) -> None:
    seen: list[Any] = []
    on_change(name="late")(lambda change: seen.append((change.event, change.task.task_id)))
    record()
    Task.objects.get().events.all().delete()
    handlers.run()

    assert seen == [(None, "task-1")]


def test_no_claim_waits_behind_the_backlog_of_another_handler() -> None:
    """Such as one that is paused, is gone, or is served by other workers."""
    for name in ("a", "b", "paused", "gone"):
        on_event(name=name)(effect)
    for number in range(4):
        record(task_id=f"task-{number}")
    pause("paused")

    claimed = claiming.claim(["paused", "b", "a"], limit=6, lease=HOUR)
    assert sorted(one.handler for one in claimed) == ["a", "a", "b", "b", "b", "b"]
    assert claiming.claim([], limit=6, lease=HOUR) == []
    assert claiming.lapsed([]) == []


def test_one_that_has_failed_itself_is_not_brought_forward_by_an_earlier_one() -> None:
    """Such as one that a person has had tried again: the later one still waits for its own pause."""
    on_event(name="a")(effect)
    for number in range(2):
        record(progress=number)
    later = timezone.now() + HOUR
    (first,) = claiming.claim(["a"], limit=1, lease=HOUR)
    Reaction.objects.filter(seq=2).update(attempts=1, due_at=later)

    assert holding.mark_done(first)
    assert Reaction.objects.get(seq=2).due_at == later


@pytest.mark.parametrize("given_up", [1, blocked.CHAIN + 7])
def test_only_the_next_ones_of_a_long_chain_are_due(handlers: Handlers, given_up: int) -> None:
    """No claim reads past all of it, and each that ends, done or given up, lets the next ones go on."""
    seen: list[int] = []

    @on_event(name="a")
    def see(change: Change) -> None:
        seen.append(change.seq)
        if change.seq <= given_up:
            raise GiveUp

    for number in range(blocked.CHAIN + 7):
        record(progress=number)

    put_off = 0 if app_settings().distributed else 7
    assert blocked.shorten_chains() == put_off
    assert blocked.shorten_chains() == 0
    assert Reaction.objects.filter(due_at__gt=timezone.now()).count() == put_off
    handlers.run()
    assert seen == list(range(1, blocked.CHAIN + 8))
    assert Reaction.objects.filter(state="done").count() == blocked.CHAIN + 7 - given_up
