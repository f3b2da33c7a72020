"""Recompute a task's row from the ledger."""

from __future__ import annotations

from itertools import chain
from typing import Any

from django.db import router, transaction
from django.db.models import F

from ..conf import app_settings
from ..lifecycle import State, fold, merge, state_of, tie_of
from ..models import Task, TaskStatusEvent

__all__ = ("rebuild_task",)


def rebuild_task(task_id: str, *, dry_run: bool = False) -> dict[str, tuple[Any, Any]]:
    """Recompute a task's row from the ledger; return what differed, as ``{column: (old, new)}``.

    The row is locked meanwhile: events that arrive are merged afterwards. With ``dry_run`` nothing is
    written. A task without events is left as it is. If events were pruned, the row knows more than the
    ledger: the events that are left are merged into it, which undoes nothing.
    """
    using = router.db_for_write(Task)
    tasks = Task.objects.using(using).filter(pk=task_id)
    with transaction.atomic(using=using):
        # Writing first takes the lock on both databases; SQLite could not upgrade a read lock under load.
        is_locked = bool(tasks.update(event_count=F("event_count")))
        state = _state_in_ledger(task_id, using)
        if state is None:
            return {}
        row = tasks.values(*state, "pruned_at").first() or dict.fromkeys([*state, "pruned_at"])
        if row["pruned_at"] is not None:
            state = merge(row, state) | {"event_count": max(row["event_count"], state["event_count"])}
        differences = {
            column: (row[column], value) for column, value in state.items() if row[column] != value
        }
        if dry_run or not differences:
            return differences
        if is_locked:
            Task.objects.using(using).update_or_create(pk=task_id, defaults=state)
            return differences
        _task, is_new = Task.objects.using(using).get_or_create(pk=task_id, defaults=state)
    # There was no row to lock. If an event has made one, what was read of the ledger lacks that event.
    return differences if is_new else rebuild_task(task_id)


def _state_in_ledger(task_id: str, using: str) -> State | None:
    events = TaskStatusEvent.objects.using(using).filter(task_id=task_id).iterator(chunk_size=2000)
    states = map(state_of_stored, events)
    first = next(states, None)
    return first and fold(chain([first], states))


def state_of_stored(event: TaskStatusEvent) -> State:
    """Return the state of a task of which ``event`` is the only event known."""
    return state_of(
        vars(event),
        event_id=event.pk,
        received_at=event.received_at,
        tie=tie_of(bytes(event.payload_digest), bytes(event.idempotency_key)),
        settings=app_settings(),
    )
