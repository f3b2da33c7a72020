"""Each effect of a handler is there once and in order, whichever process is killed, or the power cut."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import psutil
import psycopg
import pytest
import requests

from tests.disks import disk
from tests.factories import body
from tests.handlers.processes import POSTGRESQL, SETTINGS, left, record, story, wait_until, working
from tests.servers import (
    PostgreSQL,
    Server,
    copy_migrated_sqlite,
    private_postgresql,
    serving,
    temporary_directory,
)
from tests.test_kills import database_on, kill_one

#: So many kills; 100 with the environment variable, which takes some minutes.
KILLS = int(os.environ.get("HANDLER_KILLS", "6"))
SENDERS = 4


class Sender:
    """Posts the events of its tasks in order, each again until it is answered 200, as a real one does."""

    def __init__(self, server: Server, name: str, url: str) -> None:
        self.server, self.name, self.url = server, name, url
        self.acknowledged = 0
        self.gives_up = threading.Event()

    def run(self, until: threading.Event) -> None:
        while not until.is_set():
            step = self.acknowledged
            one = body(task_id=f"task-{self.name}-{step % 3}", progress=step % 100, metadata={"step": step})
            while not self._is_stored(one):
                if self.gives_up.wait(0.2):
                    return
            self.acknowledged += 1
            time.sleep(0.3)
            # No further ahead of the workers than that: they would have to catch up at the end.
            while not until.is_set() and self.acknowledged > effects(self.url) / SENDERS + 20:
                time.sleep(0.5)

    def _is_stored(self, one: dict[str, Any]) -> bool:
        with suppress(requests.RequestException):
            return self.server.post(one, timeout=30).status_code == 200
        return False


@contextmanager
def sending(server: Server, url: str) -> Iterator[list[Sender]]:
    senders, until = [Sender(server, str(number), url) for number in range(SENDERS)], threading.Event()
    with ThreadPoolExecutor(len(senders)) as pool:
        runs = [pool.submit(one.run, until) for one in senders]
        try:
            yield senders
        except BaseException:  # the servers may be away for good
            for one in senders:
                one.gives_up.set()
            raise
        finally:
            until.set()
        for run in runs:
            run.result(120)


class Workers:
    """Two workers, of which one may be killed and started again."""

    def __init__(self, stack: ExitStack, url: str) -> None:
        self._stack, self._url = stack, url
        self._running = [self._start(), self._start()]

    def _start(self) -> psutil.Popen:
        return self._stack.enter_context(working(self._url, SLOW="0.02", LEASE="2"))

    def kill(self, number: int) -> None:
        self._running[number].send_signal(signal.SIGKILL)
        self._running[number].wait(30)
        self._running[number] = self._start()


def effects(url: str) -> int:
    """Return how many there are; none while the database is away."""
    count = "SELECT count(*) FROM auth_group"
    with suppress(sqlite3.Error, psycopg.Error):
        if POSTGRESQL:
            with psycopg.connect(url) as connection:
                return int((connection.execute(count).fetchone() or [0])[0])
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return int(file.execute(count).fetchone()[0])
    return 0


def wait_for_more(url: str, senders: list[Sender]) -> None:
    """Wait until more is sent and more is done."""
    sent, done = sum(one.acknowledged for one in senders), effects(url)
    end = time.monotonic() + 120
    while sum(one.acknowledged for one in senders) < sent + 8 or effects(url) < done + 8:
        assert time.monotonic() < end, "nothing goes on"
        time.sleep(0.1)


def wait_for_effects(url: str, number: int) -> None:
    """Wait as long as more and more is done."""
    last, since = -1, time.monotonic()
    while (done := effects(url)) < number:
        if done > last:
            last, since = done, time.monotonic()
        assert time.monotonic() < since + 60, f"{done} of {number} effects"
        time.sleep(0.5)


def assert_each_once_and_in_order(found: dict[str, Any], acknowledged: int) -> None:
    assert found["states"] == {"done": acknowledged}, found["states"]
    assert found["events"] == acknowledged
    expected: dict[str, list[str]] = defaultdict(list)
    for _handler, task_id, seq, *_ in sorted(found["rows"], key=lambda row: row[2]):
        expected[task_id].append(f"{task_id}:{seq}")
    done: dict[str, list[str]] = defaultdict(list)
    for effect in found["effects"]:
        done[effect.partition(":")[0]].append(effect)
    assert done == expected


@contextmanager
def databases() -> Iterator[tuple[str, PostgreSQL | None]]:
    with temporary_directory() as place:
        if not POSTGRESQL:
            yield f"sqlite:///{place}/db.sqlite3", None
            return
        with private_postgresql(place) as server:
            yield server.url, server


def test_postgresql_is_killed_though_some_of_its_processes_end_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each does without its postmaster, which is killed first."""
    ended, runs = psutil.Popen([sys.executable, "-c", ""]), psutil.Popen(["sleep", "60"])
    of_ended = psutil.Process(ended.pid)
    ended.wait(30)
    with temporary_directory() as place:
        postgresql = PostgreSQL(place)
        monkeypatch.setattr(postgresql, "_processes", lambda: [of_ended, runs])

        postgresql.kill()

    assert runs.wait(30) == -signal.SIGKILL


def test_killed_in_turn() -> None:
    """Workers, web workers and PostgreSQL, while senders post: nothing is lost, doubled or out of order."""
    with (
        databases() as (url, postgresql),
        serving(url, DJANGO_SETTINGS_MODULE=SETTINGS) as server,
        ExitStack() as stack,
    ):
        with sending(server, url) as senders:
            workers = Workers(stack, url)
            for turn in range(KILLS):
                wait_for_more(url, senders)
                if turn % 3 == 2 and postgresql is not None:
                    postgresql.kill()
                    postgresql.start()
                elif turn % 3 == 1:
                    kill_one(server.workers())
                else:
                    workers.kill(turn % 2)
            wait_for_more(url, senders)
        acknowledged = sum(one.acknowledged for one in senders)
        wait_for_effects(url, acknowledged)

        found = left(url)

    assert_each_once_and_in_order(found, acknowledged)
    again = sum(row[4] > 1 for row in found["rows"])
    print(
        f"{KILLS} kills: {acknowledged} events, {len(found['effects'])} effects, {again} needed more attempts"
    )


def test_the_power_is_cut() -> None:
    """Effect and mark reach the disk together, or neither does."""
    with temporary_directory() as place, disk(place) as one, database_on(one) as (url, postgresql):
        if postgresql is None:
            copy_migrated_sqlite(url)
        record(url, *[event for number in range(20) for event in story(f"task-{number}", 12)])
        one.flush()
        with working(url, SLOW="0.02", LEASE="1"):
            while effects(url) < 60:
                time.sleep(0.02)
            one.cut_power()
        if postgresql is not None:
            postgresql.kill()
        one.restore_power()
        if postgresql is not None:
            postgresql.start()
        found = left(url)
        done = sorted(f"{row[1]}:{row[2]}" for row in found["rows"] if row[3] == "done")
        assert done == sorted(found["effects"])
        assert 0 < len(done) < 240, "it was cut in the middle"
        with working(url, LEASE="1"):
            found = wait_until(url, lambda found: found["states"] == {"done": 240}, 120)
    assert_each_once_and_in_order(found, 240)
