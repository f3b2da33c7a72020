"""The metrics of handlers: the attempts that a worker counts, and how each handler stands."""

from __future__ import annotations

import builtins
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.utils import timezone

from tasks.handlers import Change, GiveUp, RetryLater, on_change
from tasks.handlers.registry import declaring
from tasks.management.commands import run_handlers
from tasks.models import Reaction
from tasks.ops import metrics, reaction_metrics
from tasks.testing import Handlers
from tests.databases import more_on_citus
from tests.factories import minutes, record
from tests.ops.test_metrics import samples
from tests.servers import free_port

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def shop() -> Iterator[None]:
    """A handler that does what the task's id says."""
    with declaring():

        @on_change(to="failed", name="refund", attempts=2)
        def refund(change: Change) -> None:
            if change.task_id == "later":
                raise RetryLater
            if change.task_id == "dead":
                raise GiveUp("no account")
            if change.task_id == "fails":
                raise ValueError

        yield


def scraped() -> dict[str, float]:
    return samples(metrics.exposition()[0].decode())


def test_attempts_by_outcome_their_duration_and_the_lag_of_the_first() -> None:
    for task_id in ("done", "later", "dead", "fails"):
        record(task_id=task_id, status="failed")
    Reaction.objects.update(created_at=timezone.now() - minutes(1))
    before = scraped()
    for report in Handlers().run() + Handlers().run(after=DAY):
        reaction_metrics.count(report)
    now = scraped()
    grown = {
        name.removeprefix("sartiq_tasks_reaction"): now[name] - before.get(name, 0)
        for name in now
        if "refund" in name and "_created" not in name
    }

    assert grown["s_total refund done"] == 1
    assert grown["s_total refund postponed"] == 2
    assert grown["s_total refund failed"] == 1
    assert grown["s_total refund dead"] == 2
    assert grown["_seconds_count refund"] == 6
    assert grown["_lag_seconds_count refund"] == 4
    assert grown["_lag_seconds_bucket refund 60.0"] == 0
    assert grown["_lag_seconds_bucket refund 300.0"] == 4
    assert 240 <= grown["_lag_seconds_sum refund"] < 260


def test_how_each_handler_stands() -> None:
    now = timezone.now()
    for task_id in ("a", "b", "c", "d"):
        record(task_id=task_id, status="failed")
    Reaction.objects.filter(task="a").update(due_at=now - minutes(10))
    Reaction.objects.filter(task="b").update(state="dead")
    Reaction.objects.filter(task="c").update(handler="gone", due_at=now + DAY)
    found = scraped()

    assert found["sartiq_tasks_reactions_pending refund"] == 2
    assert found["sartiq_tasks_reactions_dead refund"] == 1
    assert 600 <= found["sartiq_tasks_reactions_oldest_due_seconds refund"] < 630
    assert found["sartiq_tasks_reactions_pending gone"] == 1
    assert found["sartiq_tasks_reactions_oldest_due_seconds gone"] == 0


def test_nothing_is_asked_where_no_handler_is_declared(django_assert_num_queries: Any) -> None:
    with declaring():
        with django_assert_num_queries(1):
            found = scraped()
        assert not [name for name in found if name.startswith("sartiq_tasks_reactions_pending")]
    with django_assert_num_queries(2 + more_on_citus(1)):
        scraped()


def test_it_answers_without_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(reaction_metrics, "standings", fail)

    assert not [name for name in scraped() if name.startswith("sartiq_tasks_reactions_pending")]


class Worker:
    """In place of a worker: count what the tests' own worker runs, and return the metrics."""

    read = ""

    def __init__(self, names: Any, *, report: Any = None, **options: Any) -> None:
        self.report = report

    def run(self, **options: Any) -> bool:
        Worker.read = ""
        for one in Handlers().run():
            self.report(one)
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
            Worker.read = answer.read().decode()
        return True


PORT = free_port()


def test_a_worker_serves_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_handlers, "Worker", Worker)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nowhere")
    record(status="failed")
    before = scraped_in_process().get("sartiq_tasks_reactions_total refund done", 0)
    call_command("run_handlers", "--once", "--metrics", f"127.0.0.1:{PORT}")

    assert samples(Worker.read)["sartiq_tasks_reactions_total refund done"] == before + 1
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10)


def scraped_in_process() -> dict[str, float]:
    from prometheus_client import generate_latest

    return samples(generate_latest().decode())


@pytest.mark.parametrize("address", ["", "9102", ":9102", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(CommandError, match="is not HOST:PORT"):
        call_command("run_handlers", "--once", "--metrics", address)


def test_an_address_may_be_of_ipv6() -> None:
    assert run_handlers._address("[::1]:9102") == ("::1", 9102)


def test_where_nothing_can_listen_it_says_so() -> None:
    with (
        reaction_metrics.serving("127.0.0.1", PORT),
        pytest.raises(CommandError, match=f"Nothing can listen on 127.0.0.1, port {PORT}: "),
    ):
        call_command("run_handlers", "--once", "--metrics", f"127.0.0.1:{PORT}")


def test_without_prometheus_client_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "prometheus_client":
            raise ImportError(name)
        return importing(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CommandError, match="needs prometheus-client"):
        call_command("run_handlers", "--once", "--metrics", f"127.0.0.1:{PORT}")
