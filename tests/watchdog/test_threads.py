"""The watchdog in a thread of its own, and inside ``run_handlers``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections
from django.utils import timezone

from tasks.handlers import Change, on_change, on_lost
from tasks.handlers.registry import declaring
from tasks.handlers.worker import Worker
from tasks.models import Reaction, Silence, Task
from tasks.watchdog import Alive, Gone, Report, threads
from tasks.watchdog.threads import Watch
from tests.factories import body, minutes, record

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_handlers() -> Iterator[None]:
    with declaring():
        yield


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_over() -> bool:
    return not any(thread.name.startswith("watchdog") for thread in threading.enumerate())


def silent(task_id: str = "task-1") -> None:
    record(timezone.now() - minutes(20), task_id=task_id)


def test_it_looks_again_and_again_until_it_is_told_to_stop(settings: Any) -> None:
    asked: list[str] = []

    def ask(tasks: Sequence[Task]) -> list[Alive]:
        asked.extend(task.pk for task in tasks)
        return [Alive(task.pk) for task in tasks]

    settings.SARTIQ_TASKS = {"PROBE": ask}
    watch = Watch(every=timedelta(seconds=0.05))
    silent()
    watch.start()
    until(lambda: asked == ["task-1"])
    silent("task-2")
    until(lambda: asked == ["task-1", "task-2"])
    watch.stop()
    until(is_over)


def test_a_failure_is_logged_and_the_step_tried_again(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []

    def notice() -> None:
        looks.append(1)
        if len(looks) == 1:
            raise OperationalError("the database is away")

    monkeypatch.setattr(threads, "notice", notice)
    settings.SARTIQ_TASKS = {"LOST_AFTER": minutes(1)}
    watch = Watch(every=timedelta(seconds=0.01))
    watch.start()
    until(lambda: len(looks) > 2)
    watch.stop()
    until(is_over)

    assert caplog.messages.count("The watchdog could not look; it looks again") == 1


def test_it_does_nothing_unless_it_is_asked_for(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "look", lambda asker: pytest.fail("it looks"))
    settings.SARTIQ_TASKS = {}
    watch = Watch()
    watch.start(once=True)

    assert watch.wait()
    assert not Silence.objects.exists()


def test_nobody_waits_for_a_look_that_hangs(settings: Any) -> None:
    released = threading.Event()
    silent()

    def hang(tasks: Sequence[Task]) -> list[Alive]:
        released.wait(30)
        return []

    settings.SARTIQ_TASKS = {"PROBE": hang}
    watch = Watch()
    watch.start(once=True)
    until(Silence.objects.exists)
    assert not watch.wait(timedelta(seconds=0.2))
    watch.stop()
    assert not watch.wait(), "told to stop, it is not waited for"
    released.set()
    until(is_over)


def test_a_probe_that_hangs_delays_neither_what_is_noticed_nor_what_is_marked(settings: Any) -> None:
    released = threading.Event()
    asked: list[list[str]] = []

    def hang(tasks: Sequence[Task]) -> list[Alive]:
        asked.append([task.pk for task in tasks])
        released.wait(60)
        return [Alive(task.pk) for task in tasks]

    for ago in (5, 20):
        record(timezone.now() - minutes(ago), task_id="other", progress=ago)
    silent()
    settings.SARTIQ_TASKS = {"PROBE": hang}
    watch = Watch(every=timedelta(seconds=0.05))
    watch.start()
    until(lambda: asked == [["task-1"]])
    silent("task-2")
    until(lambda: Silence.objects.filter(pk="task-2").exists())
    silent("task-3")
    until(lambda: Silence.objects.filter(pk="task-3").exists())
    Silence.objects.filter(pk="task-2").update(judged_at=timezone.now())
    until(lambda: Task.objects.get(pk="task-2").is_lost)
    assert asked == [["task-1"]], "one question at a time"
    released.set()
    until(lambda: Silence.objects.get(pk="task-3").answer == "alive")
    watch.stop()
    until(is_over)


def run_handlers(*arguments: str) -> None:
    call_command("run_handlers", *arguments)
    connections.close_all()


def test_once_looks_once_and_has_what_it_found_reacted_to(settings: Any) -> None:
    """As from cron: the ending that the cluster reports, and the handler's run for it, in one call."""
    done: list[str] = []

    @on_change(to="succeeded", name="ended")
    def ended(change: Change) -> None:
        done.append(change.task_id)

    silent()
    settings.SARTIQ_TASKS = {
        "PROBE": lambda tasks: [Report(one.pk, body(task_id=one.pk, status="done")) for one in tasks]
    }
    run_handlers("--once")

    assert Task.objects.get().has_succeeded
    assert done == ["task-1"]


def test_lost_tasks_are_told_to_their_handlers(settings: Any) -> None:
    told: list[str] = []

    @on_lost(name="lost")
    def lost(change: Change) -> None:
        assert change.task.is_lost
        told.append(change.task_id)

    silent()
    for ago in (5, 20):
        record(timezone.now() - minutes(ago), task_id="other", progress=ago)
    settings.SARTIQ_TASKS = {"PROBE": lambda tasks: [Gone(one.pk) for one in tasks]}
    run_handlers("--once")
    Silence.objects.update(gone_since=timezone.now() - minutes(1), due_at=timezone.now())
    run_handlers("--once")

    assert told == ["task-1"]
    assert Reaction.objects.get().state == "done"


def test_without_any_handler_it_watches_all_the_same(settings: Any) -> None:
    silent()
    settings.SARTIQ_TASKS = {"PROBE": lambda tasks: [Alive(one.pk) for one in tasks]}
    run_handlers("--once")

    assert Silence.objects.get().answer == "alive"


def test_a_probe_that_hangs_holds_up_no_handler_and_no_delivery(settings: Any, post: Any) -> None:
    done: list[str] = []
    released = threading.Event()

    @on_change(to="succeeded", name="ended")
    def ended(change: Change) -> None:
        done.append(change.task_id)

    def hang(tasks: Sequence[Task]) -> list[Alive]:
        released.wait(60)
        return []

    silent()
    settings.SARTIQ_TASKS = {"PROBE": hang}
    watch = Watch()
    watch.start()
    until(Silence.objects.exists)

    assert post(body(task_id="other", status="completed")).status_code == 200
    assert post(body(status="completed")).status_code == 200, "of the very task that is asked about"
    worker = threading.Thread(target=run_once_unwatched, daemon=True)
    worker.start()
    until(lambda: sorted(done) == ["other", "task-1"])
    released.set()
    watch.stop()
    until(is_over)


def run_once_unwatched() -> None:
    Worker(["ended"], threads=2).run(once=True)
    connections.close_all()
