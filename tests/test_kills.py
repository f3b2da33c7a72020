"""Every event answered 200 survives: killed workers, a crashed database, a power cut, a stopped server."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import requests
from django.db import connection

from tests.disks import Disk, disk
from tests.factories import body
from tests.servers import PostgreSQL, Server, manage, private_postgresql, serving, temporary_directory


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[str, PostgreSQL | None]]:
    """A database of this test's own, of the kind that the suite runs on."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path}/db.sqlite3", None
        return
    with temporary_directory() as place, private_postgresql(place) as server:
        yield server.url, server


class Sender:
    """Posts events one after the other, as fast as they are answered, and remembers the answers."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self.acknowledged: list[str] = []
        self.sent = 0
        self.other: list[int] = []

    def run(self, until: threading.Event) -> None:
        while not until.is_set():
            self.sent += 1
            task_id = f"{self.name}-{self.sent}"
            try:
                status = self.server.post(body(task_id=task_id), timeout=15).status_code
            except requests.RequestException:
                continue
            if status == 200:
                self.acknowledged.append(task_id)
            else:
                self.other.append(status)


@contextmanager
def sending(server: Server, number: int = 6) -> Iterator[list[Sender]]:
    """Send from ``number`` clients at once during the block."""
    until = threading.Event()
    senders = [Sender(server, f"sender{n}") for n in range(number)]
    with ThreadPoolExecutor(number) as pool:
        for sender in senders:
            pool.submit(sender.run, until)
        try:
            yield senders
        finally:
            until.set()


def acknowledged(senders: list[Sender]) -> int:
    return sum(len(sender.acknowledged) for sender in senders)


def wait_for_more(senders: list[Sender], number: int = 20) -> None:
    """Wait until ``number`` more events are acknowledged."""
    wanted = acknowledged(senders) + number
    for _ in range(600):
        if acknowledged(senders) >= wanted:
            return
        time.sleep(0.05)
    raise AssertionError("no more events are acknowledged")


COUNT = """
from collections import Counter
from tasks.models import Task, TaskStatusEvent
events = Counter(TaskStatusEvent.objects.values_list("task_id", flat=True))
tasks = set(Task.objects.values_list("task_id", flat=True))
print(*sorted(events), sep="\\n")
assert max(events.values()) == 1, "an event is stored twice"
assert tasks == set(events), "a task without its event, or an event without its task"
"""


def assert_nothing_is_lost(senders: list[Sender], database_url: str) -> None:
    stored = set(manage("shell", "-v", "0", "-c", COUNT, database_url=database_url).split())
    promised = {task_id for sender in senders for task_id in sender.acknowledged}

    assert promised
    assert promised <= stored
    assert {status for sender in senders for status in sender.other} <= {503}


def test_a_worker_is_killed(database: tuple[str, PostgreSQL | None]) -> None:
    url, _ = database
    with serving(url) as server:
        with sending(server) as senders:
            for _ in range(3):
                wait_for_more(senders)
                kill_one(server.workers())
            wait_for_more(senders, 60)
        assert_nothing_is_lost(senders, url)


def test_postgresql_crashes(database: tuple[str, PostgreSQL | None]) -> None:
    url, postgresql = database
    if postgresql is None:
        pytest.skip("SQLite has no server that could crash: its crash is the worker's")
    with serving(url) as server:
        with sending(server) as senders:
            for _ in range(3):
                wait_for_more(senders)
                postgresql.stop("immediate")
                postgresql.start()
            wait_for_more(senders)
        assert_nothing_is_lost(senders, url)


def test_many_kills_in_a_row(database: tuple[str, PostgreSQL | None]) -> None:
    """Workers, their main processes and PostgreSQL in turn, ``KILLS`` times: the server goes on."""
    url, postgresql = database
    with serving(url) as server:
        with sending(server) as senders:
            for turn in range(int(os.environ.get("KILLS", "6"))):
                wait_for_more(senders)
                if turn % 3 == 2 and postgresql is not None:
                    postgresql.kill()
                    postgresql.start()
                else:
                    kill_one(server.workers() if turn % 3 else server.process.children())
            wait_for_more(senders, 60)
            assert server.process.is_running()
        assert_nothing_is_lost(senders, url)
    print(f"{sum(sender.sent for sender in senders)} sent, {acknowledged(senders)} acknowledged, "
          f"{sum(len(sender.other) for sender in senders)} answered 503")  # fmt: skip


def kill_one(processes: list[psutil.Process]) -> None:
    """Kill the first of them that lives; they may all be between two lives."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                process.kill()
                return


@contextmanager
def database_on(one: Disk) -> Iterator[tuple[str, PostgreSQL | None]]:
    if connection.vendor == "sqlite":
        yield f"sqlite:///{one.place}/db.sqlite3", None
        return
    with private_postgresql(one.place) as server:
        yield server.url, server


def test_the_power_is_cut() -> None:
    """Of a disk there remains what was flushed: an answer that comes before that is a promise broken."""
    with temporary_directory() as place, disk(place) as one, database_on(one) as (url, postgresql):
        with serving(url) as server:
            one.flush()
            with sending(server) as senders:
                wait_for_more(senders, 100)
            one.cut_power()  # all are answered
        if postgresql is not None:
            postgresql.kill()
        one.restore_power()
        if postgresql is not None:
            postgresql.start()
        assert_nothing_is_lost(senders, url)


def test_the_server_is_told_to_stop(database: tuple[str, PostgreSQL | None]) -> None:
    url, _ = database
    # A worker may hang while it stops. Granian kills it after these seconds, or after 40 without the option.
    with serving(url, "--workers-kill-timeout", "5") as server:
        with sending(server) as senders:
            wait_for_more(senders, 40)
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(90)
        assert_nothing_is_lost(senders, url)


@contextmanager
def held(url: str) -> Iterator[Callable[[], None]]:
    """Keep every writer waiting until the function that is given is called."""
    if url.startswith("sqlite"):
        other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
    else:
        other = psycopg.connect(url)  # type: ignore[assignment]
        other.execute("LOCK TABLE sartiq_tasks_task IN ACCESS EXCLUSIVE MODE")
    with closing(other):
        yield other.rollback


def test_a_request_that_was_taken_is_finished(database: tuple[str, PostgreSQL | None]) -> None:
    """The database keeps the request waiting; the server is told to stop meanwhile."""
    url, _ = database
    with serving(url, DB_LOCK_TIMEOUT_MS="20000") as server, held(url) as release:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(server.post, body(task_id="in-flight"))
            time.sleep(1)
            assert not answer.done()
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            release()
            assert answer.result(30).status_code == 200
        server.process.wait(90)
    assert "in-flight" in manage("shell", "-v", "0", "-c", COUNT, database_url=url)
