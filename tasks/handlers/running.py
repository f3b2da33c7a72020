"""Make one attempt at a reaction: the effect and its mark in one transaction, fenced by the attempt."""

from __future__ import annotations

import logging
import random
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import DatabaseError, InterfaceError, connections, transaction
from django.db.models import F
from django.utils import timezone

from ..conf import app_settings
from ..models import Reaction, RejectedDelivery
from . import holding
from .blocked import BATCH
from .change import Change
from .crash_points import reach
from .exceptions import GiveUp, RetryLater
from .registry import Declared
from .sql import TABLE, is_postgresql

logger = logging.getLogger("sartiq_tasks.handlers")

BACKOFF = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800, 3600, 10800, 21600, 43200))
MAX_ERROR_BYTES = 8192


class Outcome(StrEnum):
    """The outcome of an attempt."""

    DONE = "done"
    FAILED = "failed"
    POSTPONED = "postponed"
    DEAD = "dead"
    #: Another worker has the reaction by now, or a person decided: nothing was changed.
    FENCED = "fenced"


class TimedOut(Exception):
    """The handler ran for longer than its ``timeout``."""


@dataclass(frozen=True, slots=True)
class Report:
    """An attempt and its outcome, for the log and the metrics."""

    handler: str
    task: str
    outcome: Outcome
    attempt: int
    seconds: float
    #: Seconds from the event to the beginning of the attempt.
    lag: float
    #: Whether it was the first attempt, which nothing had put off.
    is_first: bool


def _do_nothing() -> None: ...


def attempt(
    reaction: Reaction, handler: Declared, using: str, begin: Callable[[], None] = _do_nothing
) -> Report:
    """Call ``handler`` for a claimed reaction, and store the outcome. ``begin`` is called just before it."""
    called = False

    def calling() -> None:
        nonlocal called
        called = True
        begin()

    reach("claimed")
    started = time.monotonic()
    lag = (timezone.now() - reaction.created_at).total_seconds()
    error: BaseException | None = None
    try:
        if is_worn_out(reaction, handler):
            raise GiveUp("Every attempt ended without an outcome: the worker died, or lost its database.")
        run = _run_atomic if handler.atomic else _run_plain
        outcome = run(reaction, handler, Change(reaction, using), using, calling)
    except (Exception, SystemExit) as caught:  # noqa: BLE001 (whatever a handler raises is its failure)
        error = caught
        if isinstance(caught, DatabaseError) and not called:
            error = RetryLater(f"Not called, because the database failed: {caught}", seconds=5)
        outcome = fail(reaction, handler, error, using)
    return logged(reaction, outcome, error, seconds=time.monotonic() - started, lag=lag)


def logged(
    reaction: Reaction, outcome: Outcome, error: BaseException | None, *, seconds: float, lag: float
) -> Report:
    """Return the report of an attempt, and write it to the log."""
    report = Report(
        reaction.handler, reaction.task_id, outcome, reaction.attempt, seconds, lag, reaction.attempts == 1
    )
    is_trouble = outcome in (Outcome.FAILED, Outcome.DEAD)
    logger.log(
        logging.ERROR if outcome is Outcome.DEAD else logging.WARNING if is_trouble else logging.INFO,
        "reaction %s: %s",
        outcome.value,
        name_of(reaction),
        exc_info=error if is_trouble and not isinstance(error, GiveUp) else None,
        extra={
            "handler": report.handler,
            "task": report.task,
            "outcome": outcome.value,
            "attempt": report.attempt,
            "milliseconds": round(seconds * 1000, 2),
            "lag_milliseconds": round(lag * 1000, 2),
        },
    )
    return report


def name_of(reaction: Reaction) -> str:
    """Return how the log names an attempt, whatever its sender called the task."""
    return f"handler={reaction.handler!r} task={reaction.task_id!r} attempt={reaction.attempt}"


def is_worn_out(reaction: Reaction, handler: Declared) -> bool:
    """Return whether more attempts were counted than allowed: the last ones ended without an outcome."""
    return reaction.attempt > max_attempts(handler)


def max_attempts(handler: Declared) -> int:
    """Return how often ``handler`` is tried."""
    return handler.attempts or app_settings().handler_attempts


def _mine(reaction: Reaction, using: str) -> Any:
    """Return the row, if this attempt still holds it."""
    return Reaction.objects.using(using).filter(
        task_id=reaction.task_id, pk=reaction.pk, attempts=reaction.attempts, state=Reaction.State.PENDING
    )


def _run_atomic(
    reaction: Reaction, handler: Declared, change: Change, using: str, begin: Callable[[], None]
) -> Outcome:
    with transaction.atomic(using=using):
        if not _lock(reaction, using):
            return Outcome.FENCED
        begin()
        handler.function(change)
        reach("effect")
        holding.mark_done(reaction)
        if app_settings().distributed:
            _commit_in_two_phases(using)
        reach("marked")
    reach("committed")
    return Outcome.DONE


def _lock(reaction: Reaction, using: str) -> bool:
    """Lock the row until the transaction ends, so that no other worker takes it; return False if one has."""
    connection = connections[using]
    mine = "WHERE task_id = %s AND id = %s AND attempts = %s AND state = 'pending'"
    values: list[Any] = [reaction.task_id, reaction.pk, reaction.attempts]
    with connection.cursor() as cursor:
        if not is_postgresql(connection):
            # A write takes SQLite's lock at once, whatever transaction mode the host has.
            cursor.execute(f"UPDATE {TABLE} SET attempts = attempts {mine}", values)
            return bool(cursor.rowcount)
        # A power cut may undo effect and mark, but never one without the other; then both are made again.
        is_hasty = not app_settings().distributed
        columns = "set_config('synchronous_commit', 'off', true)" if is_hasty else "id"
        # This waits while this worker extends the lease, or another one claims the row.
        cursor.execute(f"SELECT {columns} FROM {TABLE} {mine} FOR UPDATE", values)
        return cursor.fetchone() is not None


def _commit_in_two_phases(using: str) -> None:
    """Have Citus commit the mark together with what the handler wrote at the coordinator.

    Citus does so only if the transaction writes to a table that it keeps there, such as this one. Otherwise
    the mark could be committed on its node, and the effect be lost with the coordinator.
    """
    RejectedDelivery.objects.using(using).filter(pk=0).update(not_kept=0)


def _run_plain(
    reaction: Reaction, handler: Declared, change: Change, using: str, begin: Callable[[], None]
) -> Outcome:
    if not holding.begin(reaction, lease=app_settings().handler_lease):
        return Outcome.FENCED
    begin()
    handler.function(change)
    reach("effect")
    done = holding.mark_done(reaction)
    reach("committed")
    return Outcome.DONE if done else Outcome.FENCED


def fail(reaction: Reaction, handler: Declared, error: BaseException, using: str) -> Outcome:
    """Store a failed attempt: put off the reaction and all later ones of its task, or end it."""
    connection = connections[using]
    if not connection.in_atomic_block and connection.connection is not None and not connection.is_usable():
        connection.close()
    outcome, changes = _after(reaction, handler, error)
    with transaction.atomic(using=using):
        if not _mine(reaction, using).update(**changes):
            return Outcome.FENCED
        reach("failing")
        if outcome is Outcome.DEAD:
            holding.release(reaction)
            return outcome
        put_off = _put_off_later(reaction, changes["due_at"], using)
    with suppress(DatabaseError, InterfaceError):  # then ``put_off_blocked()`` goes on
        while put_off == BATCH and _waits(reaction, changes["due_at"], using):
            put_off = _put_off_later(reaction, changes["due_at"], using)
    return outcome


def _put_off_later(reaction: Reaction, until: datetime, using: str) -> int:
    """Put off the next of those that wait for a reaction; return how many."""
    reactions = Reaction.objects.using(using).filter(task_id=reaction.task_id)
    later = reactions.pending().filter(handler=reaction.handler, seq__gt=reaction.seq, due_at__lt=until)
    return reactions.filter(pk__in=later.order_by("seq").values("pk")[:BATCH]).update(due_at=until)


def _waits(reaction: Reaction, until: datetime, using: str) -> bool:
    """Return whether a reaction is put off until then: nobody has it tried again meanwhile."""
    return bool(_mine(reaction, using).filter(started_at=None, due_at=until).exists())


def _after(reaction: Reaction, handler: Declared, error: BaseException) -> tuple[Outcome, Mapping[str, Any]]:
    now = timezone.now()
    if isinstance(error, RetryLater):
        changes = {"due_at": now + error.delay, "started_at": None, "excused": F("excused") + 1}
        return Outcome.POSTPONED, {**changes, "error": text_of(error)}
    if isinstance(error, GiveUp) or reaction.attempt >= max_attempts(handler):
        return Outcome.DEAD, {"state": Reaction.State.DEAD, "ended_at": now, "error": text_of(error)}
    pause = BACKOFF[min(reaction.attempt, len(BACKOFF)) - 1] * random.uniform(0.9, 1.1)  # noqa: S311 (jitter)
    return Outcome.FAILED, {"due_at": now + pause, "started_at": None, "error": text_of(error)}


def text_of(error: BaseException) -> str:
    """Return the traceback, or the handler's own word, as text that every database can store; of a long one
    only the end.
    """
    if isinstance(error, GiveUp):
        lines = [f"Given up by the handler: {error}"]
    elif isinstance(error, RetryLater) or error.__traceback__ is None:
        lines = [f"{error}"]
    else:
        lines = traceback.format_exception(error)
    encoded = "".join(lines).replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
    return encoded[-MAX_ERROR_BYTES:].decode("utf-8", "ignore")
