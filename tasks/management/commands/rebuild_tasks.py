"""``manage.py rebuild_tasks``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import router

from ...ledger.rebuilding import rebuild_task
from ...models import Task, TaskStatusEvent
from ..progress import progress

#: Ids that are read at once.
BATCH = 2000


class Command(BaseCommand):
    """Recompute the tasks from the ledger."""

    help = (
        "Recompute every task's current state from the ledger of events and report each that differed. "
        "Run it after you change the setting STATUSES or CLOCK_TOLERANCE; otherwise none should differ. "
        "Senders can post meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare which tasks, and whether to write."""
        parser.add_argument("--task-id", action="append", help="only this task (can be given more than once)")
        parser.add_argument(
            "--dry-run", action="store_true", help="report the differences, and change nothing"
        )

    def handle(self, *, task_id: list[str] | None, dry_run: bool, **options: Any) -> None:
        """Rebuild and report."""
        total = len(task_id) if task_id else Task.objects.count()
        differed = seen = 0
        with progress(self.stderr, total=total, unit="task") as done:
            for one in task_id or _in_ledger():
                seen += 1
                if differences := rebuild_task(one, dry_run=dry_run):
                    differed += 1
                    self.stdout.write(f"{one}: {_told(differences)}")
                done(1)
        verb = "differ" if dry_run else "differed and were mended"
        self.stdout.write(f"{seen} tasks, {differed} {verb}.")


def _in_ledger() -> Iterator[str]:
    """Yield the id of each task in the ledger, in constant memory, and without a cursor that stays open."""
    events = TaskStatusEvent.objects.using(router.db_for_write(TaskStatusEvent)).order_by("task_id")
    ids = events.values_list("task_id", flat=True).distinct()
    batch = list(ids[:BATCH])
    while batch:
        yield from batch
        batch = list(ids.filter(task_id__gt=batch[-1])[:BATCH])


def _told(differences: dict[str, tuple[Any, Any]]) -> str:
    shown = {column: change for column, change in differences.items() if not column.endswith("_order")}
    return (
        ", ".join(f"{column} was {was!r}, is {now!r}" for column, (was, now) in shown.items()) or "order keys"
    )
