"""Ask the cluster in a thread of its own: a probe that never returns holds up nothing else."""

from __future__ import annotations

import logging
import reprlib
import threading
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db import connections
from django.utils.module_loading import import_string

from ..conf import AppSettings
from ..models import Task
from .answers import Alive, Answer, Failure, Gone, Probe, ProbeFailed, Report
from .http import ask_over_http

logger = logging.getLogger("sartiq_tasks.watchdog")

#: How long a probe may take for the tasks that it is asked about at once.
LIMIT = timedelta(seconds=60)
MAX_REASON = 500
_NOTHING_SAID = "The cluster said nothing about it."


def probe_of(settings: AppSettings) -> Probe | None:
    """Return how to ask the cluster, or None if it cannot be asked."""
    if settings.probe is not None:
        found: Probe = import_string(settings.probe) if isinstance(settings.probe, str) else settings.probe
        return found
    return ask_over_http if settings.probe_url is not None else None


class Asker:
    """Asks by a probe, one question at a time, and waits ``limit`` for its answer."""

    def __init__(self, *, limit: timedelta = LIMIT) -> None:
        self._limit = limit.total_seconds()
        self._thread: threading.Thread | None = None

    def ask(self, probe: Probe, tasks: Sequence[Task]) -> dict[str, Answer | Failure]:
        """Return an answer for each of ``tasks``; what is missing or late is a ``Failure``."""
        if self._thread is not None and self._thread.is_alive():
            return _failures(tasks, "The probe has not returned from an earlier question yet.")
        call = _Call(probe, tasks)
        self._thread = threading.Thread(target=call.run, name="probe", daemon=True)
        self._thread.start()
        self._thread.join(self._limit)
        reason = call.reason
        if self._thread.is_alive():
            reason = f"The probe did not return within {self._limit:g} s."
            logger.warning("The probe did not return within %g s: tasks=%d", self._limit, len(tasks))
        asked = {task.pk for task in tasks}
        said = {one.task_id: one for one in list(call.said) if one.task_id in asked}
        return {**_failures(tasks, reason), **said}


class _Call:
    """One call of the probe."""

    def __init__(self, probe: Probe, tasks: Sequence[Task]) -> None:
        self._probe, self._tasks = probe, tasks
        self.said: list[Answer] = []
        self.reason = _NOTHING_SAID

    def run(self) -> None:
        odd: list[object] = []
        try:
            answers: Iterable[Any] = self._probe(self._tasks)
            for answer in answers:
                is_known = isinstance(answer, (Alive, Gone, Report)) and isinstance(answer.task_id, str)
                (self.said if is_known else odd).append(answer)
            if odd:
                first = reprlib.repr(odd[0])
                raise ProbeFailed(
                    f"The probe answered {first} instead of Alive, Gone or Report ({len(odd)} in all)."
                )
        except Exception as error:  # noqa: BLE001 (whatever a probe raises is its failure)
            self.reason = reason_of(error)
            logger.warning("Asking the cluster failed: %s tasks=%d", self.reason, len(self._tasks))
        finally:
            connections.close_all()  # this thread's own, if the probe has used any


def reason_of(error: Exception) -> str:
    """Return one line about ``error``, which every database stores."""
    text = str(error) if isinstance(error, ProbeFailed) else f"{type(error).__name__}: {error}"
    line = " ".join(text.split())[:MAX_REASON]
    # Such as U+0000, a lone surrogate, or what a terminal would obey.
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in line)


def _failures(tasks: Sequence[Task], reason: str) -> dict[str, Answer | Failure]:
    return {task.pk: Failure(task.pk, reason) for task in tasks}
