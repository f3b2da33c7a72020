"""The worker as a process of its own: threads, signals, kills, hangs; and through pgbouncer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import psutil
import psycopg
import pytest
from django.db import connection

from tests.databases import place
from tests.servers import ROOT, manage, private_postgresql, project_environment, temporary_directory
from tests.test_databases import pgbouncer

#: So many kills; 100 with the environment variable, which takes some minutes.
KILLS = int(os.environ.get("HANDLER_KILLS", "2"))
POSTGRESQL = connection.vendor == "postgresql"

RECORD = """
import json, sys
from tests.factories import record
for one in json.loads(sys.argv[1]):
    record(**one)
"""
LEFT = """
import json
from django.contrib.auth.models import Group
from django.db.models import Count
from tasks.models import Reaction, Task
states = dict(Reaction.objects.values_list("state").annotate(Count("pk")))
rows = Reaction.objects.order_by("pk").values_list("handler", "task_id", "seq", "state", "attempts", "error")
print(json.dumps({"states": states,
    "effects": list(Group.objects.order_by("pk").values_list("name", flat=True)),
    "rows": [list(row) for row in rows], "events": sum(Task.objects.values_list("event_count", flat=True))}))
"""

#: Except that of the one that hangs, which ran last.
LEASES_PASS = """
from datetime import timedelta
from django.utils import timezone
from tasks.models import Reaction
Reaction.objects.filter(state="pending", handler="shop.effect").update(due_at=timezone.now())
Reaction.objects.filter(handler="shop.hang").update(due_at=timezone.now() + timedelta(hours=1))
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    """A migrated database of this test's own, of the kind that the suite runs on."""
    if POSTGRESQL:
        with temporary_directory() as directory, private_postgresql(directory) as server:
            yield server.url
        return
    url = f"sqlite:///{tmp_path}/db.sqlite3"
    manage("migrate", "--verbosity", "0", database_url=url)
    yield url


def environment(url: str, **changes: str) -> dict[str, str]:
    return project_environment(url, DJANGO_SETTINGS_MODULE="tests.handlers.shop.settings", **changes)


def run_python(code: str, url: str, *arguments: str) -> str:
    setup = "import django; django.setup()\n"
    done = subprocess.run(
        [sys.executable, "-c", setup + code, *arguments],
        cwd=ROOT, env=environment(url), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def record(url: str, *events: dict[str, Any]) -> None:
    run_python(RECORD, url, json.dumps(events))


def left(url: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_python(LEFT, url).splitlines()[-1])
    return found


@contextmanager
def working(url: str, *arguments: str, **changes: str) -> Iterator[psutil.Popen]:
    """Run a worker until the end of the block."""
    command = [sys.executable, "manage.py", "run_handlers", *arguments]
    log = place("runtime") / "worker.log"
    with log.open("ab") as output:
        process = psutil.Popen(command, cwd=ROOT, env=environment(url, **changes), stderr=output)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def wait_until(url: str, condition: Any, seconds: float = 60) -> dict[str, Any]:
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


def test_once_does_what_is_due_and_ends(database: str) -> None:
    record(database, *story("task-0"), *story("task-1"))

    with working(database, "--once", "--handler", "shop.effect") as worker:
        assert worker.wait(60) == 0

    found = left(database)
    assert found["states"] == {"done": 12}
    assert_in_order_and_once(found, 2, 6)


def test_killed_again_and_again(database: str) -> None:
    """Workers of four threads are killed in the middle: nothing is lost or doubled, the order is kept."""
    tasks, random = 10, Random(15)
    for kill in range(KILLS):
        more = [(number, kill * 3 + step) for number in range(tasks) for step in range(3)]
        record(database, *[{"task_id": f"task-{number}", "progress": one % 100} for number, one in more])
        with working(database, SLOW="0.1", LEASE="0.5"), working(database, SLOW="0.1", LEASE="0.5") as victim:
            time.sleep(random.uniform(2, 5))
            victim.send_signal(signal.SIGKILL)
    with working(database, LEASE="0.5"):
        found = wait_until(database, lambda found: found["states"] == {"done": tasks * KILLS * 3}, 120)

    assert_in_order_and_once(found, tasks, KILLS * 3)


def test_told_to_stop_it_finishes_what_runs_and_gives_back_the_rest(database: str) -> None:
    record(database, *[one for number in range(12) for one in story(f"task-{number}", 1)])
    with working(database, "--threads", "2", SLOW="1.5") as worker:
        time.sleep(0.5)
        wait_until(database, lambda found: any(row[4] for row in found["rows"]))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0

    found = left(database)
    done = [row for row in found["rows"] if row[3] == "done"]
    assert len(done) == len(found["effects"]) > 0
    with working(database, "--once") as worker:
        assert worker.wait(60) == 0, "what was given back is due at once"
    assert left(database)["states"] == {"done": 12}


def test_one_that_kills_its_worker_takes_no_innocent_with_it(database: str) -> None:
    poison = {"task_id": "poison", "event_type": "poison"}
    record(database, poison, *[one for number in range(8) for one in story(f"task-{number}", 2)])
    for _ in range(6):
        with working(database, "--once", LEASE="0.3") as worker:
            worker.wait(60)
        time.sleep(0.4)

    found = left(database)
    innocents = [row for row in found["rows"] if row[1] != "poison"]
    assert {row[3] for row in innocents} == {"done"}
    assert max(row[4] for row in innocents) <= 2
    assert [row[3] for row in found["rows"] if row[1] == "poison" and row[0] == "shop.poison"] == ["dead"]
    assert_in_order_and_once(found, 8, 2)


def test_a_slow_one_is_not_called_again_when_its_lease_passes(database: str) -> None:
    """It takes longer than the lease, and than a worker waits between two looks for suspects."""
    record(database, {"task_id": "slow", "event_type": "slow"})
    with working(database, LEASE="1"), working(database, LEASE="1"):
        found = wait_until(database, lambda found: found["states"] == {"done": 3}, 120)

    assert {row[0]: row[4] for row in found["rows"]} == {
        "shop.effect": 1,
        "shop.slow": 1,
        "shop.slow-plain": 1,
    }
    assert sorted(found["effects"]) == ["shop.slow-plain:1", "shop.slow:1"]


def test_one_that_breaks_its_connection_fails_alone(database: str) -> None:
    record(database, {"task_id": "broken", "event_type": "broken"}, *story("task-0"), *story("task-1"))

    with working(database, "--once") as worker:
        assert worker.wait(60) == 0

    found = left(database)
    assert_in_order_and_once(found, 2, 6)
    assert {row[4] for row in found["rows"]} == {1}
    assert {row[0] for row in found["rows"] if row[3] == "dead"} == {"shop.closes", "shop.cut-off"}
    assert found["states"].keys() == {"done", "dead"}
    assert "broken-effect" not in found["effects"]


def test_one_that_hangs_is_ended_and_the_worker_ends_to_be_started_again(database: str) -> None:
    record(database, {"task_id": "hang", "event_type": "hang"}, *story("task-0", 3))

    with working(database, SLOW="2") as worker:
        assert worker.wait(60) == 1
    found = left(database)
    hung = hanging(found)
    if POSTGRESQL:
        assert "ran for longer than" in hung[5]
        begun = [row[2:4] for row in found["rows"] if row[1] == "task-0" and row[4]]
        assert begun == [[1, "done"], [2, "done"]], "it finishes what runs"
    run_python(LEASES_PASS, database)
    with working(database, "--once") as worker:
        assert worker.wait(60) == 0, "what was claimed with it is due after its lease"

    found = left(database)
    assert_in_order_and_once(found, 1, 3)
    assert max(row[4] for row in found["rows"] if row[0] == "shop.effect") <= 2
    assert hanging(found)[3:5] == hung[3:5] == ["pending", 1]
    assert not any(effect.startswith("hang-effect") for effect in found["effects"])


def test_on_sqlite_one_is_ended_before_deliveries_give_up_waiting_for_the_lock(database: str) -> None:
    if POSTGRESQL:
        pytest.skip("on PostgreSQL no delivery waits for a handler")
    record(database, {"task_id": "hang", "event_type": "hang"})

    with working(database, HANG_TIMEOUT="3600", LOCK_TIMEOUT="3") as worker:
        assert worker.wait(60) == 1


def hanging(found: dict[str, Any]) -> list[Any]:
    (row,) = (row for row in found["rows"] if row[0] == "shop.hang")
    return list(row)


def test_through_pgbouncer_in_transaction_mode() -> None:
    if not POSTGRESQL:
        pytest.skip("about PostgreSQL alone")
    with temporary_directory() as directory, private_postgresql(directory) as server:
        record(server.url, *[one for number in range(6) for one in story(f"task-{number}", 4)])
        with pgbouncer(server) as url, working(url, PGBOUNCER="on"), working(url, PGBOUNCER="on"):
            found = wait_until(server.url, lambda found: found["states"] == {"done": 24})

    assert_in_order_and_once(found, 6, 4)


def test_postgresql_crashes_while_they_run() -> None:
    if not POSTGRESQL:
        pytest.skip("SQLite has no server that could crash: its crash is the worker's")
    with temporary_directory() as directory, private_postgresql(directory) as server:
        record(server.url, *[one for number in range(6) for one in story(f"task-{number}", 6)])
        with working(server.url, SLOW="0.05", LEASE="1"):
            wait_until(server.url, lambda found: len(found["effects"]) > 3)
            server.stop("immediate")
            server.start()
            found = wait_until(server.url, lambda found: found["states"] == {"done": 36}, 120)

    assert_in_order_and_once(found, 6, 6)


def test_a_locked_reaction_holds_up_no_delivery_of_its_task() -> None:
    if not POSTGRESQL:
        pytest.skip("SQLite locks no row: docs/handlers.md says what atomic=False is for")
    with temporary_directory() as directory, private_postgresql(directory) as server:
        record(server.url, *story("task-0", 1))
        with psycopg.connect(server.url) as other:
            other.execute("SELECT 1 FROM sartiq_tasks_reaction FOR UPDATE")
            record(server.url, {"task_id": "task-0", "progress": 50})
            other.rollback()
        assert left(server.url)["events"] == 2
