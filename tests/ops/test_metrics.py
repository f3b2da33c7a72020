"""The metrics: who may read them, and that they add up over processes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tasks.models import Task
from tasks.ops import metrics
from tasks.ops.delivery_log import _OUTCOMES
from tests import factories
from tests.disks import full, small_disk
from tests.factories import body

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-for-prometheus"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def on(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"METRICS_TOKEN": TOKEN}


def samples(text: str) -> dict[str, float]:
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape() -> dict[str, float]:
    answer = Client().get("/metrics", headers=BEARER)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    return samples(answer.content.decode())


@pytest.fixture
def grown() -> Callable[[], dict[str, float]]:
    """Return the counts since the test began, because the counters outlive it."""
    before = samples(metrics.exposition()[0].decode())

    def difference() -> dict[str, float]:
        return {name: value - before.get(name, 0) for name, value in scrape().items()}

    return difference


@pytest.mark.usefixtures("on")
def test_deliveries_by_outcome_and_errors_by_type(post: Any, grown: Any) -> None:
    post(body())
    post(body())
    post(body(progress=101, task_id=5))
    Client().post("/api/v1/tasks/webhook", headers={"Authorization": "Bearer bad"})

    now = grown()
    assert now["sartiq_tasks_deliveries_total stored"] == 1
    assert now["sartiq_tasks_deliveries_total duplicate"] == 1
    assert now["sartiq_tasks_deliveries_total rejected"] == 1
    assert now["sartiq_tasks_deliveries_total unauthenticated"] == 1
    assert now["sartiq_tasks_rejected_total less_than_equal"] == 1
    assert now["sartiq_tasks_rejected_total string_type"] == 1
    assert now["sartiq_tasks_rejected_total authentication_failed"] == 1
    assert now["sartiq_tasks_delivery_seconds_count"] == 4
    assert now["sartiq_tasks_delivery_seconds_bucket +Inf"] == 4
    assert now["sartiq_tasks_delivery_seconds_sum"] > 0


@pytest.mark.usefixtures("on")
def test_the_age_of_the_newest_event() -> None:
    assert "sartiq_tasks_newest_event_age_seconds" not in scrape()
    factories.record(received_at=timezone.now() - timedelta(hours=2))
    factories.record(received_at=timezone.now() - timedelta(hours=1), task_id="task-2")

    assert 3600 <= scrape()["sartiq_tasks_newest_event_age_seconds"] < 3700


@pytest.mark.usefixtures("on")
def test_it_answers_without_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(Task.objects, "aggregate", fail)

    assert "sartiq_tasks_newest_event_age_seconds" not in scrape()


def test_not_there_without_a_token_of_its_own(settings: Any) -> None:
    settings.SARTIQ_TASKS = {}

    assert Client().get("/metrics", headers=BEARER).status_code == 404
    assert Client().get("/metrics", headers={"Authorization": "Bearer None"}).status_code == 404


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer \u00e9"]
)
@pytest.mark.usefixtures("on")
def test_nothing_is_told_without_the_token(given: str) -> None:
    answer = Client().get("/metrics", headers={"Authorization": given})

    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json() == {"detail": "Not authenticated"}


@pytest.mark.usefixtures("on")
def test_a_token_for_deliveries_is_none_for_metrics() -> None:
    headers = {"Authorization": f"Bearer {factories.client_token()}"}

    assert Client().get("/metrics", headers=headers).status_code == 401


def test_off_counts_nothing(settings: Any, post: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SARTIQ_TASKS = {}
    monkeypatch.setattr(metrics, "_instruments", lambda: pytest.fail("counted"))

    assert post(body()).status_code == 200


def run(code: str, **env: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.stdout


DJANGO = (
    "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; import django; django.setup()\n"
)


def test_off_imports_no_client() -> None:
    code = (
        DJANGO
        + "import tasks.urls\nprint('prometheus_client' in sys.modules, 'standardwebhooks' in sys.modules)"
    )

    assert run(code).split() == ["False", "False"]


def test_each_outcome_is_told_before_it_happens() -> None:
    """Otherwise the first rejection after a start would be no increase, and alarm nobody."""
    code = DJANGO + "from tasks.ops import metrics; print(metrics.exposition()[0].decode())"

    told = samples(run(code))

    outcomes = {"stored", "duplicate", "rejected", *_OUTCOMES.values()}
    assert {name: told.get(f"sartiq_tasks_deliveries_total {name}") for name in outcomes} == dict.fromkeys(
        outcomes, 0
    )


def test_the_age_is_of_now_and_stays_in_no_file(tmp_path: Path) -> None:
    code = (
        DJANGO
        + "from datetime import datetime, UTC; from unittest.mock import Mock\n"
        + "from tasks.ops import metrics\n"
        + "metrics.Task = Mock()\n"
        + "metrics.Task.objects.aggregate.return_value = {'newest': datetime(2026, 1, 1, tzinfo=UTC)}\n"
        + "metrics.exposition()\n"
        + "print(metrics.exposition()[0].decode())"
    )

    lines = run(code, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)).splitlines()

    assert len([line for line in lines if line.startswith("sartiq_tasks_newest_event_age_seconds")]) == 1
    assert list(tmp_path.glob("gauge*")) == []


def test_any_process_answers_for_all(tmp_path: Path) -> None:
    count = DJANGO + "from tasks.ops import metrics; metrics.count('stored', [], 0.004)"
    show = (
        DJANGO
        + "from tasks.ops import metrics; from prometheus_client import generate_latest\n"
        + "metrics.count('rejected', ['missing'], 0.004)\n"
        + "print(generate_latest(metrics._counted()).decode())"
    )
    for _ in range(2):
        run(count, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

    now = samples(run(show, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)))

    assert now["sartiq_tasks_deliveries_total stored"] == 2
    assert now["sartiq_tasks_deliveries_total rejected"] == 1
    assert now["sartiq_tasks_rejected_total missing"] == 1
    assert now["sartiq_tasks_delivery_seconds_count"] == 3


def test_a_full_disk_ends_no_process_and_counting_goes_on_when_there_is_room() -> None:
    code = (
        DJANGO
        + "from tasks.ops import metrics; from prometheus_client import generate_latest\n"
        + "try: metrics.count('stored', [], 0.004)\n"
        + "except OSError as error: print('#', error.strerror)\n"
        + "os.unlink(os.environ['FILLER'])\n"
        + "for _ in range(2): metrics.count('stored', [], 0.004)\n"
        + "print(generate_latest(metrics._counted()).decode())"
    )
    with small_disk("1m") as disk, full(disk) as filler:
        counted = run(code, PROMETHEUS_MULTIPROC_DIR=str(disk), FILLER=str(filler))

    assert counted.startswith("# No space left on device")
    assert samples(counted)["sartiq_tasks_deliveries_total stored"] == 2


def test_what_a_process_of_the_same_number_counted_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "counter_1.db"
    metrics._reserve(file)
    assert file.read_bytes() == bytes(metrics.ROOM)
    file.write_bytes(b"counted")
    metrics._reserve(file)

    assert file.read_bytes() == b"counted"
    assert list(tmp_path.iterdir()) == [file]


def test_files_of_all_processes_are_read_where_the_environment_names_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    assert generate_latest(metrics._counted()) == b""


@pytest.mark.usefixtures("on")
def test_counting_needs_no_log(post: Any, grown: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="sartiq_tasks.deliveries")
    post(body())

    assert grown()["sartiq_tasks_deliveries_total stored"] == 1


def test_the_first_deliveries_of_a_process_may_come_at_once() -> None:
    code = (
        DJANGO
        + "from concurrent.futures import ThreadPoolExecutor; from threading import Barrier\n"
        + "from tasks.ops import metrics\n"
        + "sys.setswitchinterval(1e-6); together = Barrier(16)\n"
        + "def count(_): together.wait(); metrics.count('stored', [], 0.004)\n"
        + "with ThreadPoolExecutor(16) as pool: list(pool.map(count, range(16)))\n"
        + "print(metrics.exposition()[0].decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
    )

    assert samples(done.stdout)["sartiq_tasks_deliveries_total stored"] == 16
