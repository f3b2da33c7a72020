"""Store reactions to events that are in the ledger already, for a handler that came later."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, router, transaction
from django.db.models import F
from django.utils import timezone

from ..conf import app_settings
from ..handlers.claiming import CLAIM_MARGIN
from ..handlers.registry import Declared, by_name
from ..handlers.sql import is_postgresql
from ..lifecycle import State, fold, meaning_of
from ..models import Handler, Reaction, Task, TaskStatusEvent
from .rebuilding import state_of_stored

#: Tasks that are read at once.
STEP = 2000
#: Every process knows a handler that was registered longer ago.
DEPLOYED_WITHIN = timedelta(hours=24)
#: A worker looks this often at every task heard from since then, and otherwise at those heard from lately: no
#: delivery that came before takes so long to be committed.
WHOLE_EVERY, LATELY = timedelta(hours=1), timedelta(minutes=10)


class CatchUp:
    """A worker's sweep. Each call stores what was missed of late, and once in a while all that was missed."""

    def __init__(self) -> None:
        self._last_whole = float("-inf")

    def __call__(self, names: Sequence[str]) -> int:
        """Return how many reactions were stored."""
        now = time.monotonic()
        if now - self._last_whole < WHOLE_EVERY.total_seconds():
            return catch_up(names, heard_since=timezone.now() - LATELY)
        stored = catch_up(names)
        self._last_whole = now
        return stored


def catch_up(names: Sequence[str], *, heard_since: datetime | None = None) -> int:
    """Store the reactions that older processes missed for handlers deployed lately; return how many.

    ``names`` are those of handlers that this process knows. With ``heard_since`` only tasks are looked at
    that were heard from since then.
    """
    since = timezone.now() - DEPLOYED_WITHIN
    handlers = Handler.objects.using(router.db_for_write(Handler))
    fresh = handlers.filter(name__in=names, registered_at__gt=since)
    return sum(
        made
        for name, registered_at in fresh.values_list("name", "registered_at")
        for _, made in react_to_ledger(by_name()[name], since=registered_at, heard_since=heard_since)
    )


def react_to_ledger(
    handler: Declared,
    *,
    since: datetime,
    heard_since: datetime | None = None,
    task_ids: Iterable[str] | None = None,
    dry_run: bool = False,
) -> Iterator[tuple[str, int]]:
    """Store the reactions that ``handler`` would have had to events received from ``since`` on.

    Yield each task with the number of its new reactions. A handler of changes gets one for each task, to the
    last change, because the ledger does not tell earlier ones. A handler of events gets one for each
    event, a handler of lost tasks one for each mark that still stands, a handler of found tasks none.
    """
    using = router.db_for_write(Task)
    if handler.kind == Reaction.Kind.FOUND:
        return
    if handler.kind == Reaction.Kind.LOST:
        tasks = Task.objects.using(using).lost().filter(lost_at__gte=since)
    else:
        tasks = Task.objects.using(using).filter(last_received_at__gte=max(since, heard_since or since))
    if task_ids is not None:
        tasks = tasks.filter(pk__in=list(task_ids))
    if handler.kind == Reaction.Kind.CHANGE and handler.to is not None:
        tasks = tasks.filter(meaning__in=handler.to)
    found = tasks.values_list("pk", flat=True)
    # SQLite's are read whole. Beside an open cursor no transaction of the same connection can begin to write,
    # once another connection has written.
    for task_id in found.iterator(chunk_size=STEP) if is_postgresql(connections[using]) else found:
        # Most tasks lack none: only those that seem to are locked.
        missing = _missing(handler, task_id, since, using)
        if missing and not dry_run:
            with transaction.atomic(using=using):
                # Writing first takes the lock on both databases: no event of the task comes in between.
                Task.objects.using(using).filter(pk=task_id).update(event_count=F("event_count"))
                missing = _missing(handler, task_id, since, using)
                Reaction.objects.using(using).bulk_create(missing, ignore_conflicts=True)
        if missing:
            yield task_id, len(missing)


def _missing(handler: Declared, task_id: str, since: datetime, using: str) -> list[Reaction]:
    task = Task.objects.using(using).filter(pk=task_id).first()
    return [] if task is None else list(_missing_of(handler, task, since, using))


def _missing_of(handler: Declared, task: Task, since: datetime, using: str) -> Iterator[Reaction]:
    if handler.kind == Reaction.Kind.LOST:
        yield from _missing_mark(handler, task, since, using)
        return
    of_task = TaskStatusEvent.objects.using(using).filter(task_id=task.pk).order_by("pk")
    events = list(of_task.defer("metadata", "additional_properties", "unknown_fields"))
    theirs = list(
        Reaction.objects.using(using).filter(task_id=task.pk, handler=handler.name, kind=handler.kind)
    )
    if handler.kind == Reaction.Kind.EVENT:
        yield from _missing_events(handler, task, since, events, theirs)
    else:
        yield from _missing_change(handler, task, since, events, theirs)


def _missing_mark(handler: Declared, task: Task, since: datetime, using: str) -> Iterator[Reaction]:
    if not task.is_lost or handler.task_type not in (None, task.task_type):
        return
    known = Reaction.objects.using(using).filter(
        task_id=task.pk, handler=handler.name, kind=handler.kind, seq=task.event_count
    )
    if not known.exists():
        yield _reaction(
            handler, task, seq=task.event_count, event_id=None, previous=task.status, status=task.status
        )


def _missing_events(
    handler: Declared, task: Task, since: datetime, events: list[TaskStatusEvent], theirs: list[Reaction]
) -> Iterator[Reaction]:
    known, taken = {one.event_id for one in theirs}, {one.seq for one in theirs}
    # The number that an event had in its task is not stored. The free ones are given by the order of the ids,
    # which is nearly the same.
    first = task.event_count - len(events) + 1
    free = (seq for seq in range(first, task.event_count + 1) if seq not in taken)
    for event in events:
        if event.pk in known:
            continue
        seq = next(free, None)
        is_asked = handler.asks_for(event_type=event.event_type, task_type=event.task_type, meaning=None)
        if seq is not None and is_asked and event.received_at >= since:
            yield _reaction(handler, task, seq=seq, event_id=event.pk, previous=None, status=event.status)


def _missing_change(
    handler: Declared, task: Task, since: datetime, events: list[TaskStatusEvent], theirs: list[Reaction]
) -> Iterator[Reaction]:
    before, after = _state([event for event in events if event.received_at < since]), _state(events)
    if after is None or (before and before["meaning"] == after["meaning"]):
        return
    settings = app_settings()
    standing = next((event for event in events if event.pk == after["status_event_id"]), None)
    if standing is None or not handler.asks_for(
        event_type=standing.event_type, task_type=standing.task_type, meaning=after["meaning"]
    ):
        return
    last = max(theirs, key=lambda one: one.seq, default=None)
    if last is not None and meaning_of(last.status, settings).value == after["meaning"]:
        return
    previous = before["status"] if before else None
    yield _reaction(
        handler, task, seq=task.event_count, event_id=standing.pk, previous=previous, status=task.status
    )


def _state(events: list[TaskStatusEvent]) -> State | None:
    """Return the state that ``events`` make, with the id of the event whose status stands."""
    states = [state_of_stored(event) for event in events]
    if not states:
        return None
    folded = fold(states)
    standing = max(states, key=lambda state: state["status_order"])
    return {**folded, "status_event_id": standing["last_event_id"]}


def _reaction(handler: Declared, task: Task, **columns: Any) -> Reaction:
    now = timezone.now()
    return Reaction(
        task_id=task.pk,
        handler=handler.name,
        kind=handler.kind,
        due_at=now + CLAIM_MARGIN,
        created_at=now,
        **columns,
    )
