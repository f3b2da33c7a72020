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
    old_tasks,
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
        "Delete events that were received longer ago than the given age. Every task keeps its current state. "
        "Also delete rejected deliveries older than REJECTED_RETENTION, and reactions that were done or "
        "given up longer than HANDLER_RETENTION ago. The command works in small transactions, so senders can "
        "post meanwhile. If it is interrupted, the next run goes on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the age, and what to delete."""
        parser.add_argument(
            "--older-than", type=age, required=True, metavar="AGE", help="such as 90d, 12w or 36h"
        )
        parser.add_argument(
            "--remove-tasks",
            action="store_true",
            help="also delete tasks that have ended, were last heard from before, and have no event left",
        )
        parser.add_argument("--batch", type=int, default=1000, help="rows per transaction (1000)")
        parser.add_argument(
            "--dry-run", action="store_true", help="print how much would be deleted, and delete nothing"
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
        reactions = old_reactions(now).count()
        if dry_run:
            self.stdout.write(
                f"{events} events were received before {before:%Y-%m-%d %H:%M} UTC and would be deleted."
            )
            if remove_tasks:
                self.stdout.write(f"{old_tasks(before).count()} tasks have ended and would be deleted.")
            self.stdout.write(
                f"{rejected} rejected deliveries are past REJECTED_RETENTION and would be deleted."
            )
            if reactions:
                self.stdout.write(
                    f"{reactions} ended reactions are past HANDLER_RETENTION and would be deleted."
                )
            return
        deleted = self._count(prune_events(before=before, batch=batch), events, "event")
        self.stdout.write(f"{deleted} events deleted, received before {before:%Y-%m-%d %H:%M} UTC.")
        if remove_tasks:
            tasks = ended_tasks(before).count()
            deleted = self._count(prune_tasks(before=before, batch=batch), tasks, "task")
            self.stdout.write(f"{deleted} tasks deleted.")
        deleted = self._count(prune_rejections(before=rejected_before, batch=batch), rejected, "delivery")
        self.stdout.write(f"{deleted} rejected deliveries deleted, past REJECTED_RETENTION.")
        if reactions:
            deleted = self._count(prune_reactions(now=now, batch=batch), reactions, "reaction")
            self.stdout.write(f"{deleted} ended reactions deleted, past HANDLER_RETENTION.")

    def _count(self, steps: Iterator[int], total: int, unit: str) -> int:
        deleted = 0
        with progress(self.stderr, total=total, unit=unit) as done:
            for number in steps:
                deleted += number
                done(number)
        return deleted
