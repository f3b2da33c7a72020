"""A look at all silent tasks: notice them, ask about them, record the answers, mark the lost ones."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework.exceptions import APIException

from ..conf import app_settings
from ..exceptions import ContractViolation
from ..ledger import silence as ledger
from ..models import Silence, Task
from ..querysets.tasks import MAY_BE_LOST
from ..rejections import field_of
from .answers import Alive, Answer, Failure, Gone, ProbeFailed, Report
from .asker import MAX_REASON, Asker, probe_of, reason_of
from .guard import Held, held_back
from .reporting import record_report

logger = logging.getLogger("sartiq_tasks.watchdog")

#: A task is marked as lost if the cluster says twice that it does not know it, this far apart.
GONE_TWICE = timedelta(minutes=1)
#: After this time another watchdog may claim a claimed silence.
LEASE = timedelta(minutes=5)
#: The pause after each failure in a row. The first is also the shortest between two looks at a task.
BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 30, 60))
#: A look ends after this many steps.
_STEPS = 50
#: Tasks judged as lost that one look goes through.
_JUDGED = 2000

_Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """The findings of one look."""

    noticed: int = 0
    #: How many tasks by what was said of them: the values of ``Silence.Answer``.
    answers: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    held_back: Counter[Held] = field(default_factory=Counter)


def look(asker: Asker | None = None, *, clock: Callable[[], datetime] = timezone.now) -> Look:
    """Notice, ask and mark, one after the other; return what was found.

    Any number of watchdogs may look at once: each silence is claimed by one of them.
    """
    if not app_settings().watches:
        return Look()
    noticed, answers = notice(clock), ask(asker or Asker(), clock=clock)
    return Look(noticed, answers, *mark(clock()))


def notice(clock: Callable[[], datetime] = timezone.now) -> int:
    """Store which tasks have fallen silent; return how many."""
    noticed = 0
    for _ in range(_STEPS):
        found = ledger.notice(clock())
        noticed += found
        if not found:
            break
    return noticed


def ask(asker: Asker, *, clock: Callable[[], datetime] = timezone.now) -> Counter[str]:
    """Ask about all silences that are due; return how many tasks by what was said of them."""
    answers: Counter[str] = Counter()
    for _ in range(_STEPS):
        claimed = ledger.claim(clock(), lease=LEASE)
        if not claimed:
            break
        _Batch(claimed, clock(), answers).work(asker)
    return answers


class _Batch:
    """The silences that were claimed at once."""

    def __init__(self, claimed: list[Silence], now: datetime, answers: Counter[str]) -> None:
        self._claimed, self._now, self._answers = claimed, now, answers
        self._settings = app_settings()

    def work(self, asker: Asker) -> None:
        """Ask about all of them at once, and store the answer to each."""
        probe = probe_of(self._settings)
        pks = [one.pk for one in self._claimed]
        last = ledger.last_received(pks)  # of all tasks below, even if one is deleted meanwhile
        tasks = Task.objects.using(ledger.database()).in_bulk(pks)
        asked: list[tuple[Silence, Task]] = []
        for one in self._claimed:
            task = tasks.get(one.pk)
            if task is None or not self._is_open(one, task):
                ledger.forget([one])
            elif last[one.pk][0] > one.deliveries:
                self._settle(one, task, {**self._alive(task), "deliveries": last[one.pk][0]})
            elif probe is None:
                self._settle(one, task, self._unanswered(one, task))
            else:
                asked.append((one, task))
        if probe is not None and asked:
            answers = asker.ask(probe, [task for _, task in asked])
            for one, task in asked:
                self._settle(one, task, self._after(one, task, answers[task.pk]))

    def _is_open(self, one: Silence, task: Task) -> bool:
        return task.event_count == one.event_count and (task.is_silent(self._now) or task.is_lost)

    def _settle(self, one: Silence, task: Task, columns: _Columns) -> None:
        if "answer" in columns:
            self._answers[columns["answer"]] += 1
        if ledger.settle(one, **columns) and task.is_lost and columns.get("alive_at"):
            ledger.mark_not_lost(task, at=self._now)

    def _after(self, one: Silence, task: Task, answer: Answer | Failure) -> _Columns:
        """Return the columns to store for an answer."""
        asked: _Columns = {"asked_at": self._now, "error": None, "failures": 0}
        if isinstance(answer, Alive):
            return asked | {"answer": Silence.Answer.ALIVE.value} | self._alive(task)
        if isinstance(answer, Gone):
            return asked | {"answer": Silence.Answer.GONE.value} | self._gone(one, task)
        if isinstance(answer, Failure):
            return asked | self._failed(one, task, answer.reason)
        try:
            return asked | self._reported(one, task, answer)
        except APIException as rejection:
            return asked | self._failed(one, task, f"The cluster's report was rejected: {_words(rejection)}")
        except (ProbeFailed, TypeError, ValueError, RecursionError) as error:  # it cannot be written as JSON
            return asked | self._failed(one, task, reason_of(error))

    def _reported(self, one: Silence, task: Task, report: Report) -> _Columns:
        reported = record_report(report)
        if reported.is_new:
            over: _Columns = {"gone_since": None, "judged_at": None, "due_at": None}
            return {"answer": Silence.Answer.REPORT.value, **over}
        known: _Columns = {"answer": Silence.Answer.KNOWN.value}
        if not reported.meaning.is_terminal:
            return known | self._alive(task)
        # It has ended, and the row says otherwise: an event with a later timestamp won.
        return known | {"says_ended": True} | self._unanswered(one, task)

    def _alive(self, task: Task) -> _Columns:
        sign: _Columns = {"alive_at": self._now, "gone_since": None, "judged_at": None}
        return sign | {"due_at": self._now + self._pause(task)}

    def _gone(self, one: Silence, task: Task) -> _Columns:
        since = one.gone_since or self._now
        if task.is_lost:
            return {"gone_since": since, "due_at": self._rarely(task)}
        judged = (one.judged_at or self._now) if self._now - since >= GONE_TWICE else None
        return {"gone_since": since, "judged_at": judged, "due_at": self._now + GONE_TWICE}

    def _failed(self, one: Silence, task: Task, reason: str) -> _Columns:
        failures = one.failures + 1
        error: _Columns = {"answer": Silence.Answer.ERROR.value, "error": reason, "failures": failures}
        return error | self._unanswered(one, task, pause=BACKOFF[min(failures, len(BACKOFF)) - 1])

    def _unanswered(self, one: Silence, task: Task, *, pause: timedelta | None = None) -> _Columns:
        """Return the columns to store without an answer: the task is lost after ``LOST_AFTER``."""
        if task.is_lost:
            return {"judged_at": None, "due_at": self._rarely(task)}
        lost_after, now, pause = self._settings.lost_after, self._now, pause or self._pause(task)
        limit = self._settings.silence_limit(task.meaning, task.task_type)
        if lost_after is None or limit is None:
            return {"judged_at": None, "due_at": now + pause}
        lost_at = max(task.last_received_at, one.alive_at or task.last_received_at) + limit + lost_after
        if now >= lost_at:
            return {"judged_at": one.judged_at or now, "due_at": now + GONE_TWICE}
        return {"judged_at": None, "due_at": min(lost_at, now + pause)}

    def _pause(self, task: Task) -> timedelta:
        limit = self._settings.silence_limit(task.meaning, task.task_type)
        return max(limit or BACKOFF[-1], BACKOFF[0])

    def _rarely(self, task: Task) -> datetime:
        """Return when to ask about a lost task again: a cluster may come back, so it is never given up."""
        return self._now + max(BACKOFF[-1], (self._now - (task.lost_at or self._now)) / 4)


def _words(rejection: APIException) -> str:
    """Return the faults of a report in one line."""
    if isinstance(rejection, ContractViolation):
        return "; ".join(f"{field_of(item)}: {item['msg']}" for item in rejection.items)[:MAX_REASON]
    return str(rejection.detail)


def mark(now: datetime) -> tuple[int, Counter[Held]]:
    """Mark the tasks that were judged as lost; return how many, and how many the guard holds back and why."""
    silences = Silence.objects.using(ledger.database()).judged().select_related("task")
    judged = list(silences.order_by("judged_at")[:_JUDGED])
    standing = [one for one in judged if _still_stands(one)]
    ledger.forget(one for one in judged if not _still_stands(one))
    held = held_back([one.task for one in standing], now) if standing else {}
    reasons = Counter(held.values())
    for reason, number in reasons.items():
        logger.warning("%d tasks would be marked as lost and are held back: %s", number, reason.value)
    free = [one for one in standing if one.pk not in held]
    last = ledger.last_received([one.pk for one in free]) if free else {}
    lost = 0
    for one in free:
        has_spoken = one.pk in last and last[one.pk][0] > one.deliveries
        if not has_spoken and ledger.mark_lost(one.task, at=now):
            lost += 1
            logger.warning("A task is marked as lost: task=%r", one.pk, extra={"task": one.pk})
    return lost, reasons


def _still_stands(one: Silence) -> bool:
    task = one.task
    return task.event_count == one.event_count and task.meaning in MAY_BE_LOST and not task.is_lost
