"""Hold marks back: if everybody is silent, or many at once, the fault is likely ours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from ..conf import app_settings
from ..ledger.silence import database
from ..models import Task, TaskStatusEvent
from ..querysets.tasks import MAY_BE_LOST
from .reporting import SOURCE

#: Within an hour, this many tasks may be marked, or one in ``ONE_IN`` of those queued and running if more.
MAX_MARKS, ONE_IN = 10, 5
WINDOW = timedelta(hours=1)
_SLICE = timedelta(minutes=15)


class Held(StrEnum):
    """Why a task is not marked as lost."""

    NOTHING_HEARD = "nothing heard"
    TOO_MANY = "too many"


def held_back(judged: Sequence[Task], now: datetime) -> dict[str, Held]:
    """Return which of the tasks that were judged as lost are not to be marked, and why."""
    settings = app_settings()
    limits = {one.pk: settings.silence_limit(one.meaning, one.task_type) for one in judged}
    heard = {limit for limit in set(limits.values()) if limit is not None and was_heard(limit, now)}
    held = {pk: Held.NOTHING_HEARD for pk, limit in limits.items() if limit not in heard}
    free = [one.pk for one in judged if one.pk not in held]
    if free:
        tasks = Task.objects.using(database())
        marked = tasks.lost()
        recent = marked.filter(lost_at__gt=now - WINDOW).count()
        living = tasks.filter(meaning__in=MAY_BE_LOST).count() - marked.count()
        if recent + len(free) > max(MAX_MARKS, living // ONE_IN):
            held |= dict.fromkeys(free, Held.TOO_MANY)
    return held


def was_heard(limit: timedelta, now: datetime) -> bool:
    """Return whether senders were heard within the last ``limit``, and within the one before it too.

    After an outage of ours nobody is judged until everybody had the time to speak again. What the
    watchdog itself has recorded does not show that senders get through.
    """
    return _heard_between(now - limit, now) and _heard_between(now - 2 * limit, now - limit)


def _heard_between(start: datetime, end: datetime) -> bool:
    # Most of the time the last minutes tell; only a quiet time is read whole, which has few events. The BRIN
    # index serves a count; for the first row alone PostgreSQL would read the table from its beginning.
    events = TaskStatusEvent.objects.using(database()).filter(received_at__lt=end).exclude(source=SOURCE)
    last_minutes = events.filter(received_at__gte=max(start, end - _SLICE))
    return bool(last_minutes.count() or events.filter(received_at__gte=start).count())
