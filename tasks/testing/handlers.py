"""The worker's own claim and run, inside a test's transaction, and assertions about the outcomes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.utils import timezone

from ..conf import app_settings
from ..handlers import claiming, crash_points, holding
from ..handlers.crash_points import CRASH_POINTS as CRASH_POINTS
from ..handlers.registry import by_name
from ..handlers.running import Report, attempt
from ..handlers.sql import database
from ..models import Reaction
from .commits import as_if_committed


class WorkerKilled(BaseException):
    """Stands for a worker's death in a test: no handler and no worker catches it."""


class Handlers:
    """Runs the reactions that are due, one after the other, and asserts what was done."""

    def run(self, *, after: timedelta = timedelta(), kill_at: str | None = None) -> list[Report]:
        """Make an attempt at everything that is due, as if ``after`` had passed; return the outcomes.

        What a handler hands to ``transaction.on_commit()`` is called as after a commit. With ``kill_at``,
        one of ``CRASH_POINTS``, the worker dies when it first reaches that point.
        """
        reports: list[Report] = []
        as_of = timezone.now() + after if after else None
        tried: set[int] = set()
        crash_points.hook = self._killing(kill_at) if kill_at else None
        try:
            while claimed := self._claim(as_of):
                if claimed.pk in tried:  # put off by its attempt, and due again as of ``after``
                    holding.give_back([claimed])
                    Reaction.objects.filter(pk=claimed.pk).update(
                        due_at=(as_of or timezone.now()) + timedelta(microseconds=1)
                    )
                    continue
                tried.add(claimed.pk)
                with as_if_committed():
                    reports.append(attempt(claimed, by_name()[claimed.handler], database()))
        except WorkerKilled:
            pass
        finally:
            crash_points.hook = None
        return reports

    def assert_done(self, handler: str, *, task_id: str, times: int = 1) -> None:
        """Assert that ``handler`` has done ``times`` reactions of a task."""
        done = Reaction.objects.filter(handler=handler, task_id=task_id, state=Reaction.State.DONE)
        assert done.count() == times, f"{handler} did {done.count()} of {task_id}:\n{self.table(task_id)}"

    def assert_nothing_pending(self) -> None:
        """Assert that every reaction has ended."""
        assert not Reaction.objects.pending().exists(), f"These are pending:\n{self.table()}"

    def table(self, task_id: str | None = None) -> str:
        """Return the reactions as text, for a test that fails."""
        found = Reaction.objects.filter(task_id=task_id) if task_id else Reaction.objects.all()
        return "\n".join(
            f"{one}: {one.previous} → {one.status}, {one.state}, {one.attempt} attempts\n{one.error or ''}"
            for one in found.order_by("task_id", "seq", "handler")
        )

    @staticmethod
    def _claim(as_of: datetime | None) -> Reaction | None:
        lease = app_settings().handler_lease
        for suspects in (False, True):
            claimed = claiming.claim(list(by_name()), limit=1, lease=lease, suspects=suspects, as_of=as_of)
            if claimed:
                return claimed[0]
        return None

    @staticmethod
    def _killing(at: str) -> Callable[[str], None]:
        def kill(point: str) -> None:
            if point == at:
                raise WorkerKilled

        return kill
