"""The worker's loop in this process: the runs that it begins, watches and ends, and its command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections
from django.db.backends.signals import connection_created
from django.utils import timezone

from tasks.handlers import Change, blocked, claiming, holding, on_event, worker
from tasks.handlers.sql import database
from tasks.handlers.worker import Worker
from tasks.models import Handler, Reaction
from tests.cluster import not_on_citus
from tests.factories import record
from tests.handlers.test_leases import Clock, let_lease_run_out, thread

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def may_return() -> Iterator[threading.Event]:
    """What a handler that hangs waits for; it is let go at the end."""
    event = threading.Event()
    yield event
    event.set()
    for one in threading.enumerate():
        if one.name.startswith("handlers-"):
            one.join(60)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(worker, "time", one)
    return one


def declare(name: str = "a", **options: Any) -> list[str]:
    calls: list[str] = []
    on_event(name=name, **options)(lambda change: calls.append(f"{change.task_id}:{change.seq}"))
    return calls


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def away(monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[None]:
    """Let the database fail what the worker asks of it."""

    def fail(*args: Any, **options: Any) -> None:
        raise OperationalError("the server\nis away")

    with monkeypatch.context() as patched:
        for name in names:
            patched.setattr(claiming if hasattr(claiming, name) else holding, name, fail)
        yield


@pytest.mark.parametrize("threads", [1, 3])
def test_once_does_all_that_is_due_in_order(threads: int) -> None:
    calls = declare()
    for number in range(5):
        record(task_id="one", progress=number)
        record(task_id="two", progress=number)
    swept: list[Any] = []

    assert Worker(["a"], threads=threads, sweep=swept.append).run(once=True)

    for task in ("one", "two"):
        assert [call for call in calls if call.startswith(task)] == [f"{task}:{seq}" for seq in range(1, 6)]
    assert swept == [["a"]]
    assert Handler.objects.get().seen_at


def test_it_claims_several_at_once_and_before_a_thread_has_nothing_to_do() -> None:
    declare()
    for number in range(12):
        record(task_id=f"task-{number}")
    one = Worker(["a"], threads=4)
    assert one._step()
    held = list(one._held)
    assert len(held) == 8

    for left in (7, 6, 5):
        del one._held[held.pop()]
        assert not one._step()
        assert len(one._held) == left
    del one._held[held.pop()]

    assert one._step()
    assert len(one._held) == 8


def test_it_works_until_it_is_stopped() -> None:
    calls = declare()
    one = Worker(["a"], threads=1)
    with thread(one.run):
        try:
            record(progress=1)
            until(lambda: len(calls) == 1)
            record(progress=2)
            until(lambda: len(calls) == 2)
        finally:
            one.stop()
    assert set(Reaction.objects.values_list("state", flat=True)) == {"done"}


def test_it_takes_over_what_a_dead_worker_left(settings: Any) -> None:
    """One after the other, and nothing else meanwhile; with ``once`` it waits for that."""
    settings.SARTIQ_TASKS = {"HANDLER_LEASE": timedelta(seconds=0.6)}
    calls = declare()
    for number in range(3):
        record(task_id=f"left-{number}")
    assert len(claiming.claim(["a"], limit=2, lease=timedelta(0))) == 2

    assert Worker(["a"], threads=2).run(once=True)

    assert sorted(calls) == ["left-0:1", "left-1:1", "left-2:1"]
    assert sorted(Reaction.objects.values_list("attempts", flat=True)) == [1, 2, 2]


def test_it_takes_over_nothing_while_it_runs_anything() -> None:
    """It might die of what another died of, and the others with it."""
    declare()
    record(task_id="runs")
    one = Worker(["a"], threads=1)
    assert one._step()
    record(task_id="left")
    (left,) = claiming.claim(["a"], limit=1, lease=timedelta(0))
    one._take_over = [left.pk]

    assert not one._step()
    assert [held.suspect for held in one._held.values()] == [False]

    one._held.clear()
    assert one._step()
    assert [held.suspect for held in one._held.values()] == [True]


def test_told_to_stop_it_gives_back_what_no_thread_has_taken(may_return: threading.Event) -> None:
    began = threading.Event()

    @on_event(name="slow", atomic=False)
    def slow(change: Change) -> None:
        began.set()
        may_return.wait(60)

    for number in range(2):
        record(task_id=f"task-{number}")
    one = Worker(["slow"], threads=1)
    with thread(one.run):
        assert began.wait(60)
        until(lambda: Reaction.objects.filter(attempts=1).count() == 2)
        one.stop()
        until(lambda: Reaction.objects.filter(excused=1).exists())
        may_return.set()
    rows = Reaction.objects.order_by("excused").values_list("state", "attempts", "excused")
    assert list(rows) == [("done", 1, 0), ("pending", 1, 1)]


def test_what_it_cannot_give_back_is_due_after_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    declare()
    record()
    one = Worker(["a"], threads=1)
    assert one._step()
    with away(monkeypatch, "give_back"):
        one.stop()
        one._threads, one._keepers = [], []
        one._finish()
    assert Reaction.objects.get().started_at is not None


@pytest.mark.parametrize("atomic", [True, False])
def test_one_that_hangs_ends_the_worker(may_return: threading.Event, atomic: bool, capsys: Any) -> None:
    """Its attempt has failed, except that on SQLite it holds the lock until the process has ended."""

    @on_event(name="hang", atomic=atomic, timeout=timedelta(milliseconds=200))
    def hang(change: Change) -> None:
        may_return.wait(60)

    record()
    with pytest.raises(SystemExit) as ended:
        call_command("run_handlers")

    assert ended.value.code == 1
    assert "did not return in time" in capsys.readouterr().err
    holds_lock = atomic and connection.vendor == "sqlite"
    left = Reaction.objects.get()
    assert (left.state, left.attempts) == ("pending", 1)
    assert ("ran for longer than" in (left.error or "")) == (not holds_lock)
    may_return.set()


def test_a_failed_attempt_of_one_that_hangs_is_written_as_soon_as_that_can_be(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OperationalError("locked")] * 3
    real: Any = vars(worker)["fail"]

    def fail(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*args)

    monkeypatch.setattr(worker, "fail", fail)
    declare(atomic=False)
    record()
    one = Worker(["a"], threads=1)
    assert one._step()
    (held,) = one._held.values()
    held.taken = True
    held.begin()
    one._end_overdue(held.began + 1000)  # type: ignore[operator]
    assert one._hangs
    assert "ran for longer than" in Reaction.objects.get().error

    failures[:] = [OperationalError("locked")] * 30
    held.abandoned = False
    one._end_overdue(held.began + 1000)  # type: ignore[operator]
    assert len(failures) == 10, "it gives up in the end"


def test_if_the_database_fails_it_goes_on_when_that_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = declare()
    record()
    one = Worker(["a"], threads=1)
    with ExitStack() as stack:
        outage = stack.enter_context(ExitStack())
        outage.enter_context(away(monkeypatch, "claim"))
        stack.enter_context(thread(one.run))
        stack.callback(one.stop)
        until(lambda: "cannot use its database" in caplog.text)
        outage.close()
        until(lambda: bool(calls))
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert messages == [
        "The worker cannot use its database, and tries again: the server",
        "The worker can use its database again",
    ]


def test_once_ends_with_one_line_if_the_database_stays_away(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare()
    waits: list[float] = []

    def wait(self: threading.Event, seconds: float | None = None) -> bool:
        waits.append(clock.now)
        clock.now += 10
        return False

    with away(monkeypatch, "claim"), monkeypatch.context() as patched:
        one = Worker(["a"], threads=1)
        one._stopping.wait = wait.__get__(one._stopping)  # type: ignore[method-assign]
        with pytest.raises(OperationalError):
            one.run(once=True)
        assert len(waits) == 3, "it tried for 30 s"

        patched.setattr(worker, "PATIENCE", 0)
        with pytest.raises(CommandError, match=r"The database failed for 30 s: the server$"):
            call_command("run_handlers", "--once")


def test_what_it_cannot_write_down_is_tried_again_after_its_lease(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.SARTIQ_TASKS = {"HANDLER_LEASE": timedelta(seconds=0.6)}
    calls = declare()
    record()
    real, failures = vars(worker)["attempt"], [OperationalError("away")]

    def attempt(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*args)

    monkeypatch.setattr(worker, "attempt", attempt)
    assert Worker(["a"], threads=1).run(once=True)
    assert "again after its lease: handler='a' task='task-1' attempt=1" in caplog.text
    assert calls == []
    let_lease_run_out()

    assert Worker(["a"], threads=1).run(once=True)
    assert calls == ["task-1:1"]
    assert (Reaction.objects.get().state, Reaction.objects.get().attempts) == ("done", 2)


def test_a_report_that_fails_changes_no_outcome(caplog: pytest.LogCaptureFixture) -> None:
    declare()
    record()

    assert Worker(["a"], threads=1, report=lambda report: 1 / 0).run(once=True)  # type: ignore[arg-type]
    assert "ZeroDivisionError" in caplog.text
    assert Reaction.objects.get().state == "done"


def test_it_watches_while_an_atomic_run_holds_sqlites_lock(may_return: threading.Event) -> None:
    """The main thread, which would wait for the lock, claims nothing; on PostgreSQL it does."""
    began = threading.Event()
    calls = declare("b", atomic=False, task_type="other")

    @on_event(name="slow", task_type="training")
    def slow(change: Change) -> None:
        began.set()
        may_return.wait(60)

    record(task_id="slow")
    one = Worker(["slow", "b"], threads=2)
    with thread(one.run):
        try:
            assert began.wait(60)
            if connection.vendor == "postgresql":
                record(task_id="quick", task_type="other")
                until(lambda: bool(calls))
            else:
                assert one._is_locked()
                assert not one._step()
        finally:
            one.stop()
            may_return.set()
    assert not Reaction.objects.filter(state="pending").exists()


def test_it_sweeps_at_once_and_then_less_often_than_it_looks_after_the_rest(clock: Clock) -> None:
    declare()
    swept: list[Any] = []
    one = Worker(["a"], threads=1, sweep=swept.append)

    for seconds, times in [(0.0, 1), (worker._SWEEP - 1, 1), (1.0, 2)]:
        clock.sleep(seconds)
        one._look_after()
        assert swept == [["a"]] * times


@not_on_citus("its claims look past a crowd")
def test_crowds_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim looks at a limited number of a handler's reactions, which those that wait must not fill."""
    monkeypatch.setattr(claiming, "LOOKAHEAD", 4)
    monkeypatch.setattr(blocked, "LOOKAHEAD", 4)
    monkeypatch.setattr(blocked, "CHAIN", 2)
    calls = declare()
    for number in range(6):
        record(task_id="chain", progress=number)
    record(task_id="other")
    claiming.claim(["a"], limit=1, lease=timedelta(hours=1))
    assert claiming.claim(["a"], limit=8, lease=timedelta(hours=1)) == []

    one = Worker(["a"], threads=1)
    one._look_after()
    assert one._step()
    assert [held.reaction.task_id for held in one._held.values()] == ["other"]
    assert calls == []


def test_its_threads_end_with_it_and_leave_no_connection_behind() -> None:
    """Otherwise a test database could not be removed."""
    declare()
    record()
    before, own = threading.active_count(), connections[database()]
    made: list[Any] = []

    def note(connection: Any, **said: Any) -> None:
        made.append(connection)

    connection_created.connect(note)
    try:
        assert Worker(["a"], threads=2).run(once=True)
    finally:
        connection_created.disconnect(note)
    assert threading.active_count() <= before
    assert own.connection is not None
    theirs = [one for one in made if one is not own]
    assert theirs
    assert [one for one in theirs if one.connection is not None] == []
    assert Reaction.objects.get().ended_at <= timezone.now()
