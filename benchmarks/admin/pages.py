"""The pages that are measured, and how."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import mean, median
from urllib.parse import quote

import psutil
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from .dataset import HANDLERS, OLD_TYPE

EVENTS = "sartiq_tasks/taskstatusevent/"
TASKS = "sartiq_tasks/task/"
OVERVIEW = "sartiq_tasks/overview/"
REJECTED = "sartiq_tasks/rejecteddelivery/"
REACTIONS = "sartiq_tasks/reaction/"


@dataclass(frozen=True)
class Page:
    """A page of this admin, the same question to the stock one, and how long it may take."""

    name: str
    url: str
    stock: str | None
    limit: float
    times: list[float] = field(default_factory=list)
    #: The processor time of this process, which other programs on the machine hardly lengthen.
    processor_times: list[float] = field(default_factory=list)
    #: The same of PostgreSQL's backend, in ticks of 10 ms: only their sum says something.
    database_times: list[float] = field(default_factory=list)
    stock_times: list[float] = field(default_factory=list)


def pages(task_id: str, long_task: str, day: date, events: int, tasks: int) -> list[Page]:
    """Return the pages. ``task_id`` is any task's, ``day`` has events; the numbers are how many there are."""
    from tasks.admin.addresses import task_url
    from tasks.admin.base import RecordAdmin
    from tasks.admin.paginator import MAX_COUNT

    last_page, last_of_tasks = (
        math.ceil(min(rows, MAX_COUNT) / RecordAdmin.list_per_page) for rows in (events, tasks)
    )
    last_of_stock = math.ceil(events / 100)
    prefix = task_id[:-4]
    failed = f"status=failed&error_category=out_of_memory&received_at={day}"
    midnight, next_midnight = (quote(f"{d} 00:00:00+00:00") for d in (day, day + timedelta(days=1)))
    stock_failed = (
        "status__exact=failed&error_category__exact=out_of_memory"
        f"&received_at__gte={midnight}&received_at__lt={next_midnight}"
    )
    return [
        Page("the compute overview", OVERVIEW, None, 50),
        Page("events: first page, all filters shown", EVENTS, "", 50),
        Page("events: last page", f"{EVENTS}?p={last_page}", f"?p={last_of_stock}", 60),
        Page("events: status failed, error category, one day", f"{EVENTS}?{failed}", f"?{stock_failed}", 60),
        Page(
            "events: event type of the oldest alone",
            f"{EVENTS}?event_type={OLD_TYPE}",
            f"?event_type__exact={OLD_TYPE}",
            60,
        ),
        Page("events: task id", f"{EVENTS}?q={task_id}", f"?q={task_id}", 20),
        Page("events: beginning of a task id", f"{EVENTS}?q={prefix}", f"?q={prefix}", 20),
        Page("tasks: first page, counts and all filters", TASKS, None, 50),
        Page("tasks: last page", f"{TASKS}?p={last_of_tasks}", None, 60),
        Page(
            "tasks: failed, error category, one day",
            f"{TASKS}?meaning=failed&error_category=out_of_memory&last_received_at={day}",
            None,
            60,
        ),
        Page("tasks: task id", f"{TASKS}?q={task_id}", None, 20),
        Page("tasks: beginning of a task id", f"{TASKS}?q={prefix}", None, 20),
        Page("a task's page with 1,000 events", task_url(long_task).removeprefix("/admin/"), None, 100),
        Page("rejected deliveries: first page, all filters", REJECTED, None, 50),
        Page("reactions: first page, all filters shown", REACTIONS, None, 50),
        Page("reactions: dead", f"{REACTIONS}?state=dead", None, 50),
        Page(
            "reactions: pending of one handler", f"{REACTIONS}?state=pending&handler={HANDLERS[0]}", None, 50
        ),
        Page("handlers", "sartiq_tasks/handler/", None, 50),
    ]


def measure(client: Client, page: Page, rounds: int, stock_rounds: int, backend: psutil.Process) -> None:
    """Time the page and the stock one in turns, after one of each to warm up."""
    for number in range(rounds + 1):
        for url, times, wanted in (
            (f"/admin/{page.url}", page.times, rounds),
            (None if page.stock is None else f"/stock/{EVENTS}{page.stock}", page.stock_times, stock_rounds),
        ):
            if url is None or not wanted or number > wanted:
                continue
            begin, begin_of_processor, begin_of_database = (
                time.perf_counter(),
                time.process_time(),
                used_by(backend),
            )
            answer = client.get(url)
            elapsed = (time.perf_counter() - begin) * 1000
            used = (time.process_time() - begin_of_processor) * 1000
            used_there = (used_by(backend) - begin_of_database) * 1000
            if answer.status_code != 200:
                raise SystemExit(f"{url} answered {answer.status_code}, to {answer.get('Location')}")
            if number:
                times.append(elapsed)
                if times is page.times:
                    page.processor_times.append(used)
                    page.database_times.append(used_there)


def used_by(process: psutil.Process) -> float:
    """Return the processor time that a process has used, in seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


def queries(client: Client, page: Page) -> int:
    """Return how many queries the page makes."""
    with CaptureQueriesContext(connection) as captured:
        client.get(f"/admin/{page.url}")
    return len(captured)


def row(page: Page, count: int) -> str:
    """Return the page's row of the table."""
    ours = median(page.times)
    worst = sorted(page.times)[round(len(page.times) * 0.95) - 1]
    stock, ratio = "", ""
    if page.stock_times:
        theirs = median(page.stock_times)
        stock, ratio = f"{theirs:.0f} ms", f"{theirs / ours:.0f} x"
    verdict = "" if ours <= page.limit else " (over)"
    columns = [
        page.name, stock, f"{ours:.1f} ms{verdict}", f"{worst:.1f} ms",
        f"{median(page.processor_times):.1f} ms", f"{mean(page.database_times):.1f} ms",
        f"{page.limit:.0f} ms", ratio,
    ]  # fmt: skip
    return f"| {' | '.join(columns)} | {count} |"
