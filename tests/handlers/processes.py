"""Processes of a worker's test: ``run_handlers``, and commands beside it, on a database of the test's own."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psutil
import psycopg
from django.db import connection

from tests.databases import place
from tests.forking import run_forked, start_forked
from tests.servers import ROOT, project_environment

POSTGRESQL = connection.vendor == "postgresql"
SETTINGS = "tests.handlers.shop.settings"

RECORD = """
import json, sys
from tests.factories import record
for one in json.loads(sys.argv[1]):
    record(**one)
"""


def environment(url: str, **changes: str) -> dict[str, str]:
    return project_environment(url, DJANGO_SETTINGS_MODULE=SETTINGS, **changes)


def run_python(code: str, url: str, *arguments: str) -> str:
    setup = "import django; django.setup()\n"
    command = (sys.executable, "-c", setup + code, *arguments)
    done = run_forked(*command, cwd=ROOT, env=environment(url), timeout=120, is_counted=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def record(url: str, *events: dict[str, Any]) -> None:
    run_python(RECORD, url, json.dumps(events))


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows that ``statement`` reads."""
    if POSTGRESQL:
        with psycopg.connect(url, autocommit=True) as server:
            return server.execute(statement.encode()).fetchall()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as file:
        return file.execute(statement).fetchall()


def left(url: str) -> dict[str, Any]:
    """Return what is stored. By SQL, because a process with Django in it takes seconds to start."""
    columns = "handler, task_id, seq, state, attempts, error"
    return {
        "states": dict(query(url, "SELECT state, count(*) FROM sartiq_tasks_reaction GROUP BY state")),
        "effects": [name for (name,) in query(url, "SELECT name FROM auth_group ORDER BY id")],
        "rows": [list(row) for row in query(url, f"SELECT {columns} FROM sartiq_tasks_reaction ORDER BY id")],
        "events": sum(count for (count,) in query(url, "SELECT event_count FROM sartiq_tasks_task")),
    }


@contextmanager
def working(url: str, *arguments: str, **changes: str) -> Iterator[psutil.Popen]:
    """Run a worker until the end of the block."""
    command = (sys.executable, "manage.py", "run_handlers", *arguments)
    log = place("runtime") / "worker.log"
    process = start_forked(*command, cwd=ROOT, env=environment(url, **changes), stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def wait_until(url: str, condition: Callable[[dict[str, Any]], bool], seconds: float = 60) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while not condition(found := left(url)):
        assert time.monotonic() < end, found
        time.sleep(0.3)
    return found


def story(task_id: str, events: int = 6) -> list[dict[str, Any]]:
    return [{"task_id": task_id, "progress": number, "key": None} for number in range(events)]


def assert_in_order_and_once(found: dict[str, Any], tasks: int, events: int) -> None:
    for number in range(tasks):
        of_task = [effect for effect in found["effects"] if effect.startswith(f"task-{number}:")]
        assert of_task == [f"task-{number}:{seq}" for seq in range(1, events + 1)]
