"""The worker as a process of its own: threads, signals, kills, hangs; and through pgbouncer."""

from __future__ import annotations

import os
import signal
import time
from random import Random
from typing import Any

import psycopg
import pytest

from tests.handlers.processes import (
    POSTGRESQL,
    assert_in_order_and_once,
    left,
    record,
    run_python,
    story,
    wait_until,
    working,
)
from tests.servers import private_postgresql, temporary_directory
from tests.test_databases import pgbouncer

#: So many kills; 100 with the environment variable, which takes some minutes.
KILLS = int(os.environ.get("HANDLER_KILLS", "2"))

#: Except that of the one that hangs, which ran last.
LEASES_PASS = """
from datetime import timedelta
from django.utils import timezone
from tasks.models import Reaction
Reaction.objects.filter(state="pending", handler="shop.effect").update(due_at=timezone.now())
Reaction.objects.filter(handler="shop.hang").update(due_at=timezone.now() + timedelta(hours=1))
"""


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
    for _ in range(20):
        with working(database, "--once", LEASE="0.3") as worker:
            worker.wait(60)
        found = left(database)
        if "pending" not in found["states"]:
            break

    innocents = [row for row in found["rows"] if row[1] != "poison"]
    assert {row[3] for row in innocents} == {"done"}
    assert max(row[4] for row in innocents) <= 2
    assert [row[3] for row in found["rows"] if row[1] == "poison" and row[0] == "shop.poison"] == ["dead"]
    assert_in_order_and_once(found, 8, 2)


def test_a_slow_one_is_not_called_again_when_its_lease_passes(database: str) -> None:
    """It takes longer than the lease, and than a worker waits between two looks for suspects."""
    record(database, {"task_id": "slow", "event_type": "slow"})
    with working(database, LEASE="3"), working(database, LEASE="3"):
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
