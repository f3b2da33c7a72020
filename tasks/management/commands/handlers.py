"""``manage.py handlers``."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ...handlers.control import pause, resume
from ...handlers.standing import Standing, standings
from ..tables import aligned


class Command(BaseCommand):
    """Show how the handlers stand, and pause and resume them."""

    help = "Show each handler with its pending and dead reactions, or pause or resume one."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the action and the handler."""
        parser.add_argument(
            "action", nargs="?", choices=("list", "pause", "resume"), default="list", help="what to do (list)"
        )
        parser.add_argument("name", nargs="?", help="the handler to pause or resume")
        parser.add_argument(
            "--check",
            action="store_true",
            help="exit with 1 if a handler has dead reactions, is paused or has no worker",
        )

    def handle(self, *, action: str, name: str | None, check: bool, **options: Any) -> None:
        """Pause or resume the handler, if asked to, and show how all stand."""
        found = standings()
        if action != "list":
            if name not in {one.name for one in found}:
                known = ", ".join(one.name for one in found) or "none"
                raise CommandError(f"No such handler: {name}. There are: {known}.")
            (pause if action == "pause" else resume)(name)
            found = standings()
        self._show(found)
        if check and any(one.troubles(timezone.now()) for one in found):
            sys.exit(1)

    def _show(self, found: list[Standing]) -> None:
        now = timezone.now()
        rows = [("handler", "pending", "oldest", "dead", "last worker", "")]
        rows += [
            (
                one.name,
                str(one.pending),
                _age(now, one.oldest),
                str(one.dead),
                _age(now, one.seen_at),
                ", ".join(one.troubles(now)),
            )
            for one in found
        ]
        self.stdout.write(aligned(rows))


def _age(now: datetime, since: datetime | None) -> str:
    return "-" if since is None else f"{(now - since).total_seconds():.0f} s"
