"""Mark lost tasks, and keep the watchdog's notes on silent ones: the only writer of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from ..conf import app_settings
from ..handlers.registry import asking_for
from ..handlers.sql import any_of, skip_locked
from ..lifecycle import meaning_of
from ..models import Reaction, Silence, Task, TaskStatusEvent
from ..querysets.tasks import MAY_BE_LOST

__all__ = ("mark_lost", "mark_not_lost")

#: The most tasks that are claimed, and asked about, at once.
BATCH = 100
#: The most silences that are noticed in one step, and the number of a task's last events that count for it.
_NOTICED, _LAST_EVENTS = 1000, 20


def database() -> str:
    """Return the alias of the database that tasks are written to."""
    return router.db_for_write(Task)


def unnoticed(now: datetime) -> Any:
    """Return the silent tasks that have no ``Silence`` yet and are not marked as lost."""
    known = Silence.objects.filter(task_id=OuterRef("pk"), event_count=OuterRef("event_count"))
    silent = Task.objects.using(database()).silent(now=now).filter(~Exists(known))
    return silent.exclude(lost_events=F("event_count")).order_by()


def notice(now: datetime) -> int:
    """Store a ``Silence`` for each task that has fallen silent; return how many."""
    found = dict(unnoticed(now).values_list("pk", "event_count")[:_NOTICED])
    if found:
        _begin(found, now)
    return len(found)


def _begin(counts: dict[str, int], now: datetime) -> None:
    """Store a silence of each task, in place of one that is over."""
    using = database()
    last = last_received(list(counts))
    silences = Silence.objects.using(using)
    with transaction.atomic(using=using):
        # Writing first takes SQLite's lock.
        silences.filter(pk__in=list(counts)).exclude(event_count=F("task__event_count")).delete()
        silences.bulk_create(
            [
                Silence(
                    task_id=task_id,
                    event_count=count,
                    noticed_at=now,
                    deliveries=last[task_id][0],
                    says_ended=last[task_id][1],
                    due_at=now,
                )
                for task_id, count in counts.items()
                if task_id in last
            ],
            ignore_conflicts=True,
        )


def last_received(task_ids: Sequence[str]) -> dict[str, tuple[int, bool]]:
    """Return how often the last events of each task were delivered, and whether the last one says it ended.

    The number of deliveries is all that moves if a sender's heartbeats all have the same body.
    """
    connection = connections[database()]
    quote = connection.ops.quote_name
    event, task = quote(TaskStatusEvent._meta.db_table), quote(Task._meta.db_table)
    sql = f"""
        SELECT t.task_id,
            (SELECT COALESCE(SUM(l.deliveries), 0) FROM (
                SELECT e.deliveries FROM {event} e WHERE e.task_id = t.task_id
                ORDER BY e.id DESC LIMIT {_LAST_EVENTS}
            ) l),
            (SELECT e.status FROM {event} e WHERE e.task_id = t.task_id ORDER BY e.id DESC LIMIT 1)
        FROM {task} t WHERE t.task_id IN ({",".join("%s" for _ in task_ids)})
    """  # noqa: S608 (the only variable parts are names of tables and a number)
    with connection.cursor() as cursor:
        cursor.execute(sql, list(task_ids))
        rows = cursor.fetchall()
    settings = app_settings()
    return {
        task_id: (int(deliveries), meaning_of(status, settings).is_terminal)
        for task_id, deliveries, status in rows
    }


def claim(now: datetime, *, lease: timedelta) -> list[Silence]:
    """Take up to ``BATCH`` silences that are due; no other watchdog takes them until the lease is over."""
    connection = connections[database()]
    table = connection.ops.quote_name(Silence._meta.db_table)
    columns = ",".join(connection.ops.quote_name(str(one.column)) for one in Silence._meta.concrete_fields)
    adapt = connection.ops.adapt_datetimefield_value
    if app_settings().distributed:  # Citus locks rows of one task at a time: the first to change one has it
        due = Silence.objects.using(connection.alias).due(now).order_by("due_at")
        parameters = list(due.values_list("pk", flat=True)[:BATCH])
        if not parameters:
            return []
        within = f"IN ({','.join('%s' for _ in parameters)}) AND due_at <= %s"
    else:
        picked = f"SELECT task_id FROM {table} WHERE due_at <= %s ORDER BY due_at LIMIT {BATCH}"  # noqa: S608
        within, parameters = any_of(connection, f"{picked} {skip_locked(connection)}"), []
    statement = f"UPDATE {table} SET due_at = %s WHERE task_id {within} RETURNING {columns}"  # noqa: S608
    # RawQuerySet converts the columns as the ORM does.
    silences = Silence.objects.using(connection.alias)
    return list(silences.raw(statement, [adapt(now + lease), *parameters, adapt(now)]))


def settle(silence: Silence, **columns: Any) -> bool:
    """Store the outcome of a claimed silence; return False if another watchdog has claimed it by now."""
    mine = Silence.objects.using(database()).filter(
        pk=silence.pk, event_count=silence.event_count, due_at=silence.due_at
    )
    return bool(mine.update(**columns))


def forget(silences: Iterable[Silence]) -> None:
    """Delete silences that are over, unless a new one has begun."""
    for one in silences:
        Silence.objects.using(database()).filter(pk=one.pk, event_count=one.event_count).delete()


def ask_soon(task: Task) -> bool:
    """Have the watchdog ask about ``task`` at once; return False if it is neither silent nor lost."""
    now = timezone.now()
    if not (task.is_silent(now) or task.is_lost):
        return False
    _begin({task.pk: task.event_count}, now)
    mine = Silence.objects.using(database()).filter(pk=task.pk, event_count=task.event_count)
    return bool(mine.update(due_at=now))


def mark_lost(task: Task, *, at: datetime | None = None) -> bool:
    """Mark ``task`` as lost, unless it has changed since it was read; return whether it was marked.

    It must be queued or running. The status stays what the sender said, and any later event voids the mark.
    The reactions of the handlers that ask for lost tasks are stored with it. ``at`` is now unless given.
    """
    using, now = database(), at or timezone.now()
    asked = Task.objects.using(using).filter(pk=task.pk, event_count=task.event_count)
    with transaction.atomic(using=using):
        unmarked = asked.filter(meaning__in=MAY_BE_LOST).exclude(lost_events=F("event_count"))
        if not unmarked.update(lost_events=F("event_count"), lost_at=now):
            return False
        _begin({task.pk: task.event_count}, now)
        Silence.objects.using(using).filter(pk=task.pk).update(judged_at=None)
        _react(task, Reaction.Kind.LOST, now)
    return True


def mark_not_lost(task: Task, *, at: datetime | None = None) -> bool:
    """Take the mark of a lost task back, which counts as a sign of life; return whether there was one.

    The reactions of the handlers that ask for found tasks are stored with it. ``at`` is now unless given.
    """
    using, now = database(), at or timezone.now()
    marked = Task.objects.using(using).filter(pk=task.pk, event_count=task.event_count)
    limit = app_settings().silence_limit(task.meaning, task.task_type)
    with transaction.atomic(using=using):
        if not marked.filter(lost_events=F("event_count")).update(lost_events=None, lost_at=None):
            return False
        _begin({task.pk: task.event_count}, now)
        Silence.objects.using(using).filter(pk=task.pk).update(
            alive_at=now, gone_since=None, judged_at=None, due_at=None if limit is None else now + limit
        )
        _react(task, Reaction.Kind.FOUND, now)
    return True


def _react(task: Task, kind: Reaction.Kind, now: datetime) -> None:
    """Store the reactions to a mark that was set or taken back, each only once for the same mark."""
    Reaction.objects.using(database()).bulk_create(
        [
            Reaction(
                task_id=task.pk,
                handler=handler,
                seq=task.event_count,
                kind=kind,
                previous=task.status,
                status=task.status,
                due_at=now,
                created_at=now,
            )
            for handler in asking_for(kind, task.task_type)
        ],
        ignore_conflicts=True,
    )
