"""Leases: workers extend and watch them, and take over only those that have run out."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from tasks.conf import app_settings
from tasks.handlers import Change, claiming, holding, on_change, worker
from tasks.handlers.leases import Every, Lapsed
from tasks.handlers.registry import by_name
from tasks.handlers.running import Outcome, attempt
from tasks.handlers.sql import database
from tasks.handlers.worker import Worker
from tasks.models import Reaction
from tests.factories import record

LEASE = 60.0
#: A third of it: for so long a lease that ran out is watched.
WATCH = 20.0


class Clock:
    """The clock that workers read, which only a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(worker, "time", one)
    return one


class Slow:
    """A handler that returns when it is told to."""

    def __init__(self, **options: Any) -> None:
        self.attempts: list[int] = []
        self.began, self.may_return = threading.Event(), threading.Event()
        on_change(name="slow", **options)(self)

    __module__, __name__ = "shop.task_handlers", "slow"

    def __call__(self, change: Change) -> None:
        self.attempts.append(change.attempt)
        self.began.set()
        assert self.may_return.wait(60)


@contextmanager
def thread(target: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run ``target`` beside the block, and wait for its end."""

    def run() -> None:
        try:
            target()
        finally:
            connections.close_all()

    one = threading.Thread(target=run)
    one.start()
    try:
        yield one
    finally:
        one.join(60)
        assert not one.is_alive()


@contextmanager
def running(slow: Slow) -> Iterator[Worker]:
    """A worker of one thread, in which ``slow`` runs; its other threads do what the test calls."""
    record(status="failed")
    one = Worker(["slow"], threads=1)
    assert one._step()
    with thread(one._serve):
        try:
            assert slow.began.wait(60)
            yield one
        finally:
            slow.may_return.set()
            one._queue.put(None)


def let_lease_run_out() -> None:
    Reaction.objects.update(due_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("looks", "taken_over"),
    [
        ({0: [(7, 1)]}, []),
        ({0: [(7, 1)], 19: [(7, 1)]}, []),
        ({0: [(7, 1)], 10: [(7, 1)], 20: [(7, 1)]}, [7]),
        ({0: [(7, 1)], 10: [], 20: [(7, 1)]}, []),  # its worker extended it, late
        ({0: [(7, 1)], 10: [(7, 2)], 20: [(7, 2)]}, []),  # another worker took it over
        ({0: [(7, 1)], 10: [(7, 1), (8, 1)], 20: [(7, 1), (8, 1)]}, [7]),
        ({0: [(7, 1)], 100: [(7, 1)]}, []),  # nobody looked meanwhile
        ({0: [(7, 1)], 100: [(7, 1)], 110: [(7, 1)], 120: [(7, 1)]}, [7]),
    ],
)
def test_a_lease_that_ran_out_is_watched(
    looks: dict[int, list[tuple[int, int]]], taken_over: list[int]
) -> None:
    lapsed = Lapsed()
    for now, found in looks.items():
        last = lapsed.look(found, now=now, lease=LEASE)

    assert last == taken_over
    assert lapsed
    lapsed.forget()
    assert not lapsed


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_lives_keeps_what_it_could_not_extend_in_time(clock: Clock) -> None:
    """Whatever held it up, such as a database that was away: it has a share of a lease to catch up."""
    slow = Slow(atomic=False)
    with running(slow) as first:
        let_lease_run_out()
        second = Worker(["slow"], threads=1)
        second._step()
        clock.now += WATCH / 2
        first._extend()
        clock.now += WATCH / 2
        second._step()
        assert Reaction.objects.get().attempts == 1
    assert slow.attempts == [1]
    assert Reaction.objects.get().state == "done"


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_does_not_live_is_relieved_and_changes_nothing_any_more(clock: Clock) -> None:
    slow = Slow(atomic=False)
    with running(slow) as first:
        let_lease_run_out()
        second = Worker(["slow"], threads=1)
        for _ in range(3):
            assert Reaction.objects.get().attempts == 1
            took = second._step()
            clock.now += WATCH / 2
        assert took
        assert Reaction.objects.get().attempts == 2
        due = Reaction.objects.get().due_at
        first._extend()
        assert Reaction.objects.get().due_at == due, "it extends no lease but its own"
    assert (Reaction.objects.get().state, Reaction.objects.get().attempts) == ("pending", 2)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_begun_beside_one_whose_worker_died(clock: Clock) -> None:
    """It may have died of it, and the next one would take with it what runs beside it."""
    Slow()
    record(task_id="suspect", status="failed")
    claiming.claim(["slow"], limit=1, lease=timedelta(seconds=LEASE))
    let_lease_run_out()
    one = Worker(["slow"], threads=2)
    while Reaction.objects.get().attempts == 1:
        one._step()
        clock.now += WATCH / 2
    record(task_id="innocent", status="failed")

    assert not one._step()
    assert Reaction.objects.get(task_id="innocent").attempts == 0
    one._held.clear()
    assert one._step()


@pytest.mark.django_db(transaction=True)
def test_a_run_that_begins_while_its_lease_is_extended_waits_for_that() -> None:
    """It took the row for another worker's, ended without an outcome, and cost an attempt and a lease."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no locks of rows")
    outcomes: list[Outcome] = []

    @on_change(name="quick")
    def quick(change: Change) -> None:
        """Do nothing."""

    record(status="failed")
    (one,) = claiming.claim(["quick"], limit=1, lease=timedelta(seconds=LEASE))

    with ExitStack() as stack, transaction.atomic(), connection.cursor() as cursor:
        holding.extend([one], lease=timedelta(seconds=LEASE))
        stack.enter_context(
            thread(lambda: outcomes.append(attempt(one, by_name()["quick"], database()).outcome))
        )
        waits = "citus_lock_waits" if app_settings().distributed else "pg_locks WHERE NOT granted"
        while not outcomes:
            cursor.execute(f"SELECT 1 FROM {waits}")
            if cursor.fetchone():
                break

    assert outcomes == [Outcome.DONE]
    assert Reaction.objects.get().attempts == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait for SQLite's lock only for a moment."""
    connection.close()
    if connection.vendor == "sqlite":
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.2)
    yield
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_an_atomic_run_is_never_taken_over_whatever_its_lease_says(
    clock: Clock, impatient: None, settings: Any
) -> None:
    """On PostgreSQL its row is locked; on SQLite everything is."""
    slow = Slow(timeout=timedelta(days=1))
    settings.SARTIQ_TASKS = {"HANDLER_LEASE": timedelta(microseconds=1)}
    with running(slow):
        settings.SARTIQ_TASKS = {}
        second = Worker(["slow"], threads=1)
        for _ in range(4):
            second._step()
            clock.now += WATCH / 2
    assert slow.attempts == [1]
    assert (Reaction.objects.get().state, Reaction.objects.get().attempts) == ("done", 1)


@pytest.mark.django_db(transaction=True)
def test_while_somebody_holds_sqlites_lock_no_watch_begins(clock: Clock, impatient: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("about SQLite's one lock")
    slow = Slow(atomic=False)
    with running(slow) as first:
        let_lease_run_out()
        second = Worker(["slow"], threads=1)
        second._step()
        with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OperationalError):
                first._extend()
            second._step()
        clock.now += WATCH / 2
        second._step()
        clock.now += WATCH / 2 + 1
        second._step()
        assert Reaction.objects.get().attempts == 1, "the watch began again"
        first._extend()
        clock.now += WATCH / 2
        second._step()
    assert slow.attempts == [1]
    assert Reaction.objects.get().state == "done"


@pytest.mark.django_db(transaction=True)
def test_leases_are_extended_though_the_main_thread_hangs(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that waits, or a sweep over a great ledger, makes no lease run out."""
    settings.SARTIQ_TASKS = {"HANDLER_LEASE": timedelta(seconds=1)}
    slow, may_go_on, claim = Slow(atomic=False), threading.Event(), claiming.claim

    def claim_once(*args: Any, **options: Any) -> list[Reaction]:
        if slow.began.is_set():
            may_go_on.wait(60)
        return claim(*args, **options)

    monkeypatch.setattr(claiming, "claim", claim_once)
    record(status="failed")
    one = Worker(["slow"], threads=1, sweep=lambda names: may_go_on.wait(60) and None)
    with thread(one.run):
        try:
            assert slow.began.wait(60)
            first = Reaction.objects.get().due_at
            end = time.monotonic() + 60
            while Reaction.objects.get().due_at < first + timedelta(seconds=1):
                assert time.monotonic() < end
                time.sleep(0.05)
        finally:
            may_go_on.set()
            slow.may_return.set()
            one.stop()
    assert slow.attempts == [1]
    assert Reaction.objects.get().state == "done"


def test_what_is_done_every_so_often_survives_its_failures(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    failures: list[Exception] = [OperationalError("away"), ValueError("broken")]

    def job() -> None:
        if failures:
            raise failures.pop(0)
        done.set()

    every = Every("job", lambda: 0.01, job)
    every.start()
    assert done.wait(60)
    every.stop()
    every.join(60)
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == ["handlers-job failed"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic", [True, False])
def test_what_a_database_fails_before_the_handler_is_called_costs_no_attempt(
    atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.handlers import running as module

    slow = Slow(atomic=atomic)
    record(status="failed")
    (one,) = claiming.claim(["slow"], limit=1, lease=timedelta(hours=1))

    def away(*args: Any, **options: Any) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_lock", away)
        patched.setattr(holding, "begin", away)
        report = module.attempt(one, by_name()["slow"], database())

    assert report.outcome == "postponed"
    left = Reaction.objects.get()
    assert (left.state, left.attempts, left.attempt) == ("pending", 1, 0)
    assert "database is locked" in left.error
    assert slow.attempts == []
