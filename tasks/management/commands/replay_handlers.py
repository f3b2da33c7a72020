"""``manage.py replay_handlers``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ...handlers.control import try_again
from ...handlers.registry import by_name
from ...handlers.sql import database
from ...ledger.catching_up import react_to_ledger
from ...models import Reaction
from ..arguments import age


class Command(BaseCommand):
    """Have a handler called again, or for events from before it was there."""

    help = (
        "Have the workers call a handler once more for its ended reactions; change.is_replay is then True. "
        "With --new, have them call it for events in the ledger to which it has no reaction."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare which handler, and what to replay."""
        parser.add_argument("name", help="the handler")
        parser.add_argument(
            "--since", type=age, default=timedelta(days=30), metavar="AGE", help="how far back (30d)"
        )
        parser.add_argument("--task", action="append", help="only this task (can be given more than once)")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--dead", action="store_true", help="only dead reactions")
        which.add_argument("--new", action="store_true", help="only events to which it has no reaction")
        parser.add_argument(
            "--dry-run", action="store_true", help="print how many reactions, and change nothing"
        )

    def handle(
        self, *, name: str, since: timedelta, task: list[str] | None, dead: bool, new: bool, **options: Any
    ) -> None:
        """Replay and report."""
        handler = by_name().get(name)
        if handler is None:
            raise CommandError(f"No such handler: {name}. There are: {', '.join(by_name()) or 'none'}.")
        begin, dry_run = timezone.now() - since, options["dry_run"]
        if new:
            number = sum(
                made for _, made in react_to_ledger(handler, since=begin, task_ids=task, dry_run=dry_run)
            )
        else:
            states = ["dead"] if dead else ["done", "dead", "skipped"]
            found = Reaction.objects.using(database()).filter(
                handler=name, created_at__gte=begin, state__in=states
            )
            found = found.filter(task_id__in=task) if task else found
            number = found.count() if dry_run else try_again(found)
        self.stdout.write(f"{number} reactions {'would be' if dry_run else 'are to be'} made.")
