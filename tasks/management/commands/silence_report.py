"""``manage.py silence_report``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from ...conf import app_settings
from ...watchdog.gaps import Gaps, gaps
from ..arguments import age
from ..tables import aligned

#: The limits that are shown beside those that are set.
LIMITS = tuple(timedelta(minutes=minutes) for minutes in (5, 15, 30, 60, 360, 1440))


class Command(BaseCommand):
    """Show how long running tasks are silent, by task type."""

    help = (
        "Show for each task type how long its running tasks sent no event: the gaps that half, 99 and 99.9 "
        "percent of all gaps do not exceed, and the longest gap. Also show how many tasks each limit would "
        "have called silent, so that you can choose SILENT_AFTER."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare how far back to look."""
        parser.add_argument(
            "--since", type=age, default=timedelta(days=7), metavar="AGE", help="how far back (7d)"
        )

    def handle(self, *, since: timedelta, **options: Any) -> None:
        """Read the ledger and print the table."""
        settings = app_settings()
        limits = sorted({*LIMITS, *(limit for limit in settings.silence_limits.values() if limit)})
        found = gaps(since=timezone.now() - since, limits=limits)
        if not found:
            self.stdout.write("No running task sent two events in that time.")
            return
        header = ("task type", "tasks", "gaps", "p50", "p99", "p99.9", "longest", "limit")
        rows = [header + tuple(f"> {in_words(limit)}" for limit in limits)]
        rows += [_row(one, settings.silence_limit("running", one.task_type)) for one in found]
        self.stdout.write(aligned(rows, str.rjust))


def _row(one: Gaps, limit: timedelta | None) -> tuple[str, ...]:
    shown = one.task_type if one.task_type.isprintable() else repr(one.task_type)
    lengths = map(in_words, (*one.lengths, limit))
    return (shown, str(one.tasks), str(one.number), *lengths, *map(str, one.tasks_beyond))


def in_words(length: timedelta | None) -> str:
    """Return a length in one unit, or two for the longer ones."""
    if length is None:
        return "-"
    seconds = length.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
