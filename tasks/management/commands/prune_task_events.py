"""``manage.py prune_task_events``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ...conf import app_settings
from ...ledger.pruning import (
    ended_tasks,
    old_events,
    old_reactions,
    old_rejections,
    prune_events,
    prune_reactions,
    prune_rejections,
    prune_tasks,
)
from ..arguments import age
from ..progress import progress


class Command(BaseCommand):
    """Delete old events from the ledger."""

    help = (
        "Delete the events that were received longer ago than the given age. Every task keeps its current "
        "state. Rejected deliveries older than REJECTED_RETENTION are deleted too, and reactions that were "
        "done longer than HANDLER_RETENTION ago. "
        "The command works in small transactions, so that events may be posted meanwhile. If it is "
        "interrupted, the next run goes on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the age, and what to delete."""
        parser.add_argument(
            "--older-than", type=age, required=True, metavar="AGE", help="such as 90d, 12w or 36h"
        )
        parser.add_argument(
            "--remove-tasks",
            action="store_true",
            help="also delete the tasks that ended, were last heard from before that, and have no event left",
        )
        parser.add_argument("--batch", type=int, default=1000, help="rows per transaction (1000)")
        parser.add_argument(
            "--dry-run", action="store_true", help="print how much would go and delete nothing"
        )

    def handle(
        self, *, older_than: timedelta, remove_tasks: bool, batch: int, dry_run: bool, **options: Any
    ) -> None:
        """Prune and report."""
        if batch < 1:
            raise CommandError("--batch must be at least 1.")
        now = timezone.now()
        before, rejected_before = now - older_than, now - app_settings().rejected_retention
        events, rejected = old_events(before).count(), old_rejections(rejected_before).count()
        if dry_run:
            self.stdout.write(
                f"{events} events were received before {before:%Y-%m-%d %H:%M} UTC and would go."
            )
            self.stdout.write(f"{rejected} rejected deliveries were kept long enough and would go.")
            return
        deleted = self._count(prune_events(before=before, batch=batch), events, "event")
        self.stdout.write(f"{deleted} events deleted, received before {before:%Y-%m-%d %H:%M} UTC.")
        if remove_tasks:
            tasks = ended_tasks(before).count()
            deleted = self._count(prune_tasks(before=before, batch=batch), tasks, "task")
            self.stdout.write(f"{deleted} tasks deleted.")
        deleted = self._count(prune_rejections(before=rejected_before, batch=batch), rejected, "delivery")
        self.stdout.write(f"{deleted} rejected deliveries deleted, kept long enough.")
        reactions = old_reactions(now).count()
        if reactions:
            deleted = self._count(prune_reactions(now=now, batch=batch), reactions, "reaction")
            self.stdout.write(f"{deleted} reactions deleted that were done, kept long enough.")

    def _count(self, steps: Iterator[int], total: int, unit: str) -> int:
        deleted = 0
        with progress(self.stderr, total=total, unit=unit) as done:
            for number in steps:
                deleted += number
                done(number)
        return deleted
