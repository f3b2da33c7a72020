"""A cluster that says what a test has it say, and a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from tasks.handlers.registry import declaring
from tasks.models import Task
from tasks.watchdog import Alive, Gone, Report
from tasks.watchdog.asker import Asker
from tasks.watchdog.looking import Look, look
from tests.factories import NOON, body, minutes, record


class Cluster:
    """What the probe asks: it says the same of every task, or what ``of`` says of one."""

    def __init__(self, settings: Any) -> None:
        self._settings, self.now = settings, NOON
        self.says: Callable[[str], Any] | Exception = Alive
        self.of: dict[str, Callable[[str], Any]] = {}
        self.asked: list[list[str]] = []
        self.asker = Asker(limit=timedelta(seconds=20))

    def ask(self, tasks: Sequence[Task]) -> Iterable[Any]:
        self.asked.append([task.pk for task in tasks])
        if isinstance(self.says, Exception):
            raise self.says
        return [self.of.get(task.pk, self.says)(task.pk) for task in tasks]

    def configure(self, **changes: Any) -> None:
        """Set what ``SARTIQ_TASKS`` is; the probe is this cluster unless another is given."""
        self._settings.SARTIQ_TASKS = {"PROBE": self.ask, **changes}

    def look(self, *, after: timedelta = timedelta()) -> Look:
        """Let time pass, and look."""
        self.now += after
        return look(self.asker, clock=lambda: self.now)

    def others_speak(self, *, until: datetime | None = None) -> None:
        """Have another task heard from every five minutes until now, so that nobody takes us for deaf."""
        at = self.now - minutes(35)
        while at <= (until or self.now):
            record(at, task_id="other", timestamp=at.isoformat())
            at += minutes(5)


def reporting(**changes: Any) -> Callable[[str], Report]:
    return lambda task_id: Report(task_id, body(task_id=task_id, **changes))


def nothing(task_id: str) -> Any:
    return Alive(f"not {task_id}")


__all__ = ("Alive", "Cluster", "Gone", "nothing", "reporting")


@pytest.fixture
def cluster(db: None, settings: Any) -> Iterator[Cluster]:
    """A cluster that is asked about silent tasks, and no handlers but the test's."""
    found = Cluster(settings)
    found.configure()
    with declaring():
        yield found
