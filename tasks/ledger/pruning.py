"""Delete what is old, in small transactions that keep no writer waiting."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.db import router, transaction
from django.db.models import Count, Exists, F, Max, Min, OuterRef
from django.utils import timezone

from ..conf import app_settings
from ..lifecycle import TERMINAL
from ..models import Reaction, RejectedDelivery, Silence, Task, TaskStatusEvent


def old_events(before: datetime) -> Any:
    """Return the events received before ``before``, without those that a handler has yet to react to.

    On PostgreSQL the BRIN index finds them.
    """
    using = router.db_for_write(TaskStatusEvent)
    awaited = Reaction.objects.pending().filter(task_id=OuterRef("task_id"), event_id=OuterRef("pk"))
    return TaskStatusEvent.objects.using(using).filter(~Exists(awaited), received_at__lt=before)


def prune_events(*, before: datetime, batch: int = 1000) -> Iterator[int]:
    """Delete the ``old_events()``; yield how many each transaction deleted.

    The tasks keep their state, and are marked as pruned, so that ``rebuild_task()`` does not mistake the
    events that are left for all of them. If a call is interrupted, the next one goes on.
    """
    known = old_events(before).aggregate(count=Count("*"), first=Min("received_at"))
    if not known["count"]:
        return
    # By windows of time, so that no step scans again what earlier steps deleted.
    step = max((before - known["first"]) / ceil(known["count"] / batch), timedelta.resolution)
    start = known["first"]
    while start < before:
        end = min(start + step, before)
        window = old_events(end).filter(received_at__gte=start)
        while deleted := _prune_batch(window, batch):
            yield deleted
        start = end


def _prune_batch(window: Any, batch: int) -> int:
    # Read before the transaction: on SQLite a transaction that begins by reading may be unable to write.
    events = dict(window.values_list("pk", "task_id")[:batch])
    with transaction.atomic(using=window.db):
        tasks = Task.objects.using(window.db).filter(pk__in=set(events.values()), pruned_at=None)
        tasks.update(pruned_at=timezone.now())
        deleted: int = window.filter(pk__in=list(events)).delete()[0]
    return deleted


def old_tasks(before: datetime) -> Any:
    """Return the tasks that have ended and were last heard from before ``before``: all their events are old.

    A task is not old while a handler has yet to react to it.
    """
    using = router.db_for_write(Task)
    awaited = Reaction.objects.pending().filter(task_id=OuterRef("pk"))
    ended = Task.objects.using(using).filter(meaning__in=list(TERMINAL), last_received_at__lt=before)
    return ended.filter(~Exists(awaited))


def ended_tasks(before: datetime) -> Any:
    """Return those of the ``old_tasks()`` that have no event left."""
    return old_tasks(before).filter(~Exists(TaskStatusEvent.objects.filter(task_id=OuterRef("pk"))))


def prune_tasks(*, before: datetime, batch: int = 1000) -> Iterator[int]:
    """Delete the ``ended_tasks()``; yield how many each transaction deleted.

    Their reactions and silences are deleted too. A task stays if an event of it arrives meanwhile.
    """
    while found := list(ended_tasks(before).values_list("pk", flat=True)[:batch]):
        tasks = ended_tasks(before).filter(pk__in=found)
        with transaction.atomic(using=tasks.db):
            # Locked first, because no event may come between the look at a task and its end. A single DELETE
            # looks only once at the events, and Django reads the rows first if a receiver of signals asks.
            tasks.update(event_count=F("event_count"))
            deleted = tasks.delete()[0]
            left = set(Task.objects.using(tasks.db).filter(pk__in=found).values_list("pk", flat=True))
            for model in (Reaction, Silence):
                model.objects.using(tasks.db).filter(task_id__in=set(found) - left).delete()
        yield deleted


def old_rejections(before: datetime) -> Any:
    """Return the rejected deliveries that were received before ``before``."""
    using = router.db_for_write(RejectedDelivery)
    return RejectedDelivery.objects.using(using).filter(received_at__lt=before)


def prune_rejections(*, before: datetime, batch: int = 1000) -> Iterator[int]:
    """Delete the ``old_rejections()``; yield how many each transaction deleted."""
    old = old_rejections(before)
    while found := list(old.values_list("pk", flat=True)[:batch]):
        yield old.filter(pk__in=found).delete()[0]


def old_reactions(now: datetime) -> Any:
    """Return the reactions that were done, or given up by a person, longer than ``HANDLER_RETENTION`` ago."""
    using = router.db_for_write(Reaction)
    return Reaction.objects.using(using).ended_before(now - app_settings().handler_retention)


def prune_reactions(*, now: datetime, batch: int = 1000) -> Iterator[int]:
    """Delete the ``old_reactions()``; yield how many each transaction deleted.

    Dead ones stay, because a person has to decide about them.
    """
    old = old_reactions(now).order_by("pk")
    # By ids, so that no step scans again what earlier steps deleted, or goes past the last of them.
    done, last = 0, old.aggregate(last=Max("pk"))["last"] or 0
    while found := list(old.filter(pk__gt=done, pk__lte=last).values_list("pk", flat=True)[:batch]):
        done = found[-1]
        yield old.filter(pk__in=found).delete()[0]
