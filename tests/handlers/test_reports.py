"""The report of each attempt, to the log and to the metrics."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any

import pytest

from tasks.handlers import Change, GiveUp, RetryLater, on_change
from tasks.handlers.running import Report
from tasks.handlers.worker import Worker
from tasks.testing import Handlers
from tests.factories import record
from tests.handlers.test_leases import Slow, thread


@pytest.mark.parametrize(
    ("error", "level", "outcome", "has_traceback"),
    [
        (None, logging.INFO, "done", False),
        (RetryLater(), logging.INFO, "postponed", False),
        (ValueError("boom"), logging.WARNING, "failed", True),
        (GiveUp("no account"), logging.ERROR, "dead", False),
    ],
)
def test_a_line_of_the_log_has_task_handler_and_attempt(
    handlers: Handlers, caplog: Any, error: Exception | None, level: int, outcome: str, has_traceback: bool
) -> None:
    @on_change(to="failed", name="refund")
    def refund(change: Change) -> None:
        if error:
            raise error

    record(task_id="t-1", status="failed")
    with caplog.at_level(logging.INFO, logger="sartiq_tasks.handlers"):
        (report,) = handlers.run()
    (line,) = caplog.records

    assert (line.name, line.levelno) == ("sartiq_tasks.handlers", level)
    assert line.getMessage() == f"reaction {outcome}: handler='refund' task='t-1' attempt=1"
    assert (line.task, line.handler, line.outcome, line.attempt) == ("t-1", "refund", outcome, 1)
    assert line.milliseconds >= 0
    assert line.lag_milliseconds >= 0
    assert (line.exc_info is not None) == has_traceback
    assert report.is_first


@pytest.mark.django_db(transaction=True)
def test_a_run_that_takes_too_long_is_told_too(caplog: Any) -> None:
    slow = Slow(atomic=False, timeout=timedelta(minutes=1))
    record(task_id="t-1", status="failed")
    reports: list[Report] = []
    one = Worker(["slow"], threads=1, report=reports.append)
    assert one._step()
    with thread(one._serve):
        try:
            assert slow.began.wait(60)
            one._end_overdue(time.monotonic() + 61)
            told = list(reports)
        finally:
            slow.may_return.set()
            one._queue.put(None)

    (report,) = told
    assert (report.handler, report.task, report.outcome, report.attempt) == ("slow", "t-1", "failed", 1)
    assert report.is_first
    assert 0 <= report.lag < 60
    attempt = "handler='slow' task='t-1' attempt=1"
    assert [record.getMessage() for record in caplog.records] == [
        f"A handler takes too long; the worker ends: {attempt}", f"reaction failed: {attempt}"
    ]  # fmt: skip
