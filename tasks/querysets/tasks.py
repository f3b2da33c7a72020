"""Reads of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from django.db.models import Case, F, Min, Q, QuerySet, When
from django.utils import timezone

from ..conf import app_settings
from ..lifecycle import TERMINAL, Meaning
from .scans import capped_counts
from .text import begins_with, ends_of_error

if TYPE_CHECKING:
    from ..models import Task  # noqa: F401 (the type of the rows)

#: The meanings that a task marked as lost may have.
MAY_BE_LOST = (Meaning.QUEUED.value, Meaning.RUNNING.value)
#: A task that was judged as lost is marked by then, unless it is held back.
HELD_AFTER = timedelta(minutes=1)


class TaskQuerySet(QuerySet["Task"]):
    """Reads of tasks."""

    def meaning(self, meaning: Meaning) -> TaskQuerySet:
        """Return the tasks whose status means ``meaning``."""
        return self.filter(meaning=meaning.value)

    def running(self) -> TaskQuerySet:
        """Return the tasks whose status means that they run."""
        return self.meaning(Meaning.RUNNING)

    def succeeded(self) -> TaskQuerySet:
        """Return the tasks whose status means that they succeeded."""
        return self.meaning(Meaning.SUCCEEDED)

    def failed(self) -> TaskQuerySet:
        """Return the tasks whose status means that they failed."""
        return self.meaning(Meaning.FAILED)

    def ended(self) -> TaskQuerySet:
        """Return the tasks that have succeeded or failed, or were cancelled."""
        return self.filter(meaning__in=sorted(TERMINAL))

    def silent(self, *, now: datetime | None = None) -> TaskQuerySet:
        """Return the tasks that sent no event for longer than ``SILENT_AFTER`` or ``QUEUED_AFTER`` allows."""
        now = now or timezone.now()
        queued_after = app_settings().queued_after
        conditions = _silent_running(app_settings().silence_limits, now)
        if queued_after is not None:
            conditions.append(Q(meaning=Meaning.QUEUED.value, last_received_at__lt=now - queued_after))
        return self.filter(reduce(or_, conditions)) if conditions else self.none()

    def lost(self) -> TaskQuerySet:
        """Return the tasks that are marked as lost, and of which no event has come since."""
        marked = self.filter(lost_at__isnull=False, lost_events=F("event_count"))
        return marked.exclude(meaning__in=sorted(TERMINAL))

    def said_to_have_ended(self) -> TaskQuerySet:
        """Return the silent and lost tasks of which the event received last says that they have ended.

        The watchdog finds them: an event with a later timestamp, of a clock that was ahead, says otherwise.
        """
        noticed = Q(silence__says_ended=True, silence__event_count=F("event_count"))
        return self.filter(noticed, meaning__in=MAY_BE_LOST)

    def held_back(self, now: datetime | None = None) -> TaskQuerySet:
        """Return the tasks that would be marked as lost, if the watchdog's guard did not hold them back."""
        judged_before = (now or timezone.now()) - HELD_AFTER
        judged = Q(silence__judged_at__lt=judged_before, silence__event_count=F("event_count"))
        return self.filter(judged, meaning__in=MAY_BE_LOST)

    def of_entity(self, entity_id: str) -> TaskQuerySet:
        """Return the tasks about the entity ``entity_id``."""
        return self.filter(entity_id=entity_id)

    def changed_since(self, time: datetime) -> TaskQuerySet:
        """Return the tasks whose last event was received at ``time`` or later.

        An event is received before it is committed. If you poll, let the times overlap by as long as a
        delivery can take.
        """
        return self.filter(last_received_at__gte=time)

    def heard_within(self, start: datetime, end: datetime) -> TaskQuerySet:
        """Return the tasks whose last event was received at ``start`` or later, and before ``end``."""
        return self.filter(last_received_at__gte=start, last_received_at__lt=end)

    def newest(self, most: int) -> TaskQuerySet:
        """Return the ``most`` tasks that were last heard from."""
        return self.order_by("-last_received_at", "task_id")[:most]

    def queued_since(self, *, of: int) -> datetime | None:
        """Return since when, by its events, the task that was queued first has been: one of the ``of`` queued
        tasks heard from longest ago.

        If it has run before, this is the time of the last event that says that it is queued.
        """
        has_returned = Q(last_running_at__isnull=False) | Q(last_ended_at__isnull=False)
        since = Case(When(has_returned, then="last_queued_at"), default="first_queued_at")
        queued = self.meaning(Meaning.QUEUED).order_by("last_received_at").annotate(since=since)[:of]
        at: datetime | None = queued.aggregate(at=Min("since"))["at"]
        return at

    def with_value(self, column: str, value: str) -> TaskQuerySet:
        """Return the tasks whose ``column`` is ``value``."""
        return self.filter(**{column: value})

    def search(self, term: str) -> TaskQuerySet:
        """Return the tasks whose id begins with ``term``, and those about the entity ``term``."""
        return self.filter(begins_with("task_id", term) | Q(entity_id=term))

    def among_newest(self, most: int) -> TaskQuerySet:
        """Return those that are among the ``most`` tasks last heard from: a range that an index serves."""
        times = self.model._default_manager.using(self.db).order_by("-last_received_at")
        last = list(times.values_list("last_received_at", flat=True)[most - 1 : most])
        return self.filter(last_received_at__gte=last[0]) if last else self.all()

    def for_list(self) -> TaskQuerySet:
        """Leave out what a list does not show; of the error message, read its beginning and its end."""
        orders = [field.name for field in self.model._meta.fields if field.name.endswith("_order")]
        return self.defer("error_message", *orders).with_ends_of_error()

    def with_ends_of_error(self) -> TaskQuerySet:
        """Add the beginning and the end of the error message, which suffice for its headline."""
        return self.annotate(**ends_of_error("error_message"))

    def counts(
        self,
        *,
        cap: int,
        now: datetime,
        meanings: Iterable[Meaning] = Meaning,
        also: Mapping[str, QuerySet[Any]] | None = None,
    ) -> dict[str, int]:
        """Return how many tasks there are of each meaning, and under ``silent`` and ``lost``, in one query.

        It also counts ``also``. No count goes beyond ``cap`` + 1, which stands for "more than ``cap``".
        """
        counted: dict[str, QuerySet[Any]] = {meaning.value: self.meaning(meaning) for meaning in meanings}
        counted["silent"] = self.silent(now=now)
        counted["lost"] = self.lost()
        return capped_counts({**counted, **(also or {})}, cap=cap, using=self.db)


def _silent_running(limits: Mapping[str, timedelta | None], now: datetime) -> list[Q]:
    """Return the condition of silence for running tasks, none if nothing is expected of any.

    The index is on meaning and time: it is read from the shortest limit of all types on.
    """
    known = {task_type: limit for task_type, limit in limits.items() if limit is not None}
    if not known:
        return []
    silent = Q(meaning=Meaning.RUNNING.value, last_received_at__lt=now - min(known.values()))
    named = [task_type for task_type in limits if task_type != "*"]
    if not named:
        return [silent]
    of_types = [
        Q(task_type=task_type, last_received_at__lt=now - limit)
        for task_type, limit in known.items()
        if task_type != "*"
    ]
    if "*" in known:
        of_types.append(~Q(task_type__in=named) & Q(last_received_at__lt=now - known["*"]))
    return [silent & reduce(or_, of_types)]
