"""The simulated cluster's status API, as the built-in probe asks it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tasks.models import Task
from tasks.simulation.cluster import last_updates, serving, states
from tasks.watchdog import Alive, Gone, Report
from tasks.watchdog.http import ask_over_http
from tests.factories import body

ENDED = body(task_id="ended", status="done")
LAST = last_updates(
    [body(task_id="ended"), body(task_id="runs", progress=1), ENDED, body(task_id="runs", progress=2)]
)


def test_the_last_event_of_each_task() -> None:
    assert {"ended": ENDED, "runs": body(task_id="runs", progress=2)} == LAST
    assert [one["state"] for one in states(LAST, ["runs", "ended", "unknown"])] == [
        "running",
        "done",
        "missing",
    ]


@pytest.mark.parametrize("ids", [["ended", "runs", "unknown"], ["", "ü&="]])
def test_over_http(settings: Any, ids: list[str]) -> None:
    with serving(LAST) as url:
        settings.SARTIQ_TASKS = {"PROBE_URL": url, "PROBE_TIMEOUT": timedelta(seconds=10)}
        said = list(ask_over_http([Task(task_id=one) for one in ids]))

    known: dict[str, Any] = {"ended": Report("ended", ENDED), "runs": Alive("runs")}
    assert said == [known.get(one, Gone(one)) for one in ids]
