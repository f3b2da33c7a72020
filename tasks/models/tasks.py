"""The current state of each task."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from ..lifecycle import NO_CLAIM, Meaning, Phase
from ..querysets import TaskQuerySet
from .columns import column, name, percentage

if TYPE_CHECKING:
    from ..querysets import ReactionQuerySet, TaskStatusEventQuerySet
    from .events import TaskStatusEvent

    class TaskManager(TaskQuerySet, models.Manager["Task"]):  # type: ignore[misc]
        """A manager with the methods of its QuerySet."""


def _event(name: Any) -> Any:
    return models.ForeignKey(
        "TaskStatusEvent",
        models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
        verbose_name=name,
    )


class Task(models.Model):
    """One task as it stands: the fold of its events (``lifecycle``), written with each of them."""

    task_id: str = name(_("task id"), primary_key=True)

    status: str | None = name(_("status"), null=True)
    meaning: str = column(models.CharField(_("meaning"), max_length=9, choices=Meaning.choices))
    #: The time of the event that the status was taken from: not since when it has been so.
    status_at: datetime | None = column(models.DateTimeField(_("status last reported"), null=True))
    #: The status before the event that was recorded last, so that "the status changed" is exact.
    previous_status: str | None = name(_("previous status"), null=True, editable=False)
    #: Likewise its meaning, as of the last event that a handler asks for: no other event writes it.
    previous_meaning: str | None = column(
        models.CharField(_("previous meaning"), max_length=9, null=True, editable=False)
    )
    progress: float = column(models.FloatField(_("progress")))
    event_type: str = name(_("event type"))
    task_type: str = name(_("task type"))
    entity_id: str | None = name(_("entity id"), null=True)
    origin_instance: str | None = name(_("origin instance"), null=True)
    origin_zone: str | None = name(_("origin zone"), null=True)
    origin_version: str | None = name(_("origin version"), null=True)
    error_message: str | None = column(models.TextField(_("error message"), null=True))
    error_category: str | None = name(_("error category"), null=True)
    started_at: datetime | None = column(models.DateTimeField(_("started at"), null=True))
    completed_at: datetime | None = column(models.DateTimeField(_("completed at"), null=True))

    first_event: TaskStatusEvent = _event(_("first event"))
    first_event_id: int
    first_event_at: datetime = column(models.DateTimeField(_("first event at")))
    last_event: TaskStatusEvent = _event(_("last event"))
    last_event_id: int
    last_event_at: datetime = column(models.DateTimeField(_("last event at")))
    last_received_at: datetime = column(models.DateTimeField(_("last heard from")))
    # The earliest and the latest event whose status says so; a phase that a task returns to lies between.
    first_queued_at: datetime | None = column(models.DateTimeField(_("first queued"), null=True))
    last_queued_at: datetime | None = column(models.DateTimeField(_("last queued"), null=True))
    first_running_at: datetime | None = column(models.DateTimeField(_("first running"), null=True))
    last_running_at: datetime | None = column(models.DateTimeField(_("last running"), null=True))
    first_ended_at: datetime | None = column(models.DateTimeField(_("first ended"), null=True))
    last_ended_at: datetime | None = column(models.DateTimeField(_("last ended"), null=True))
    event_count: int = column(models.PositiveBigIntegerField(_("events")))

    #: When events of it were pruned last: from then on the ledger does not tell all of its history.
    pruned_at: datetime | None = column(models.DateTimeField(_("pruned at"), null=True, editable=False))

    #: The mark of a lost task: its ``event_count`` as it was judged. Any later event voids it.
    lost_events: int | None = column(
        models.PositiveBigIntegerField(_("events when marked as lost"), null=True, editable=False)
    )
    lost_at: datetime | None = column(models.DateTimeField(_("marked as lost at"), null=True, editable=False))

    # The order key of the claim that stands on each register: see lifecycle.
    first_order: bytes = column(models.BinaryField(default=NO_CLAIM))
    last_order: bytes = column(models.BinaryField(default=NO_CLAIM))
    status_order: bytes = column(models.BinaryField(default=NO_CLAIM))
    error_order: bytes = column(models.BinaryField(default=NO_CLAIM))
    started_order: bytes = column(models.BinaryField(default=NO_CLAIM))
    completed_order: bytes = column(models.BinaryField(default=NO_CLAIM))
    entity_order: bytes = column(models.BinaryField(default=NO_CLAIM))
    origin_order: bytes = column(models.BinaryField(default=NO_CLAIM))

    events: TaskStatusEventQuerySet
    reactions: ReactionQuerySet
    objects: ClassVar[TaskManager] = column(TaskQuerySet.as_manager())

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["-last_received_at", "task_id"], name="sartiq_task_heard"),
            models.Index(fields=["meaning", "-last_received_at", "task_id"], name="sartiq_task_meaning"),
            # For filters and search. Each is paid at every event, so that none holds more than its column:
            # equal values share an entry, and what does not change with an event is soon pruned.
            # Two hold a second column, which is looked for under each value of the first.
            models.Index(fields=["task_type", "origin_version"], name="sartiq_task_type"),
            models.Index(fields=["origin_zone", "origin_instance"], name="sartiq_task_zone"),
            models.Index(
                fields=["error_category"], name="sartiq_task_error", condition=Q(error_category__isnull=False)
            ),
            models.Index(
                fields=["entity_id"], name="sartiq_task_entity", condition=Q(entity_id__isnull=False)
            ),
            models.Index(fields=["-lost_at"], name="sartiq_task_lost", condition=Q(lost_at__isnull=False)),
        ]
        constraints = [
            percentage("sartiq_task_progress"),
            models.CheckConstraint(
                condition=Q(lost_events__isnull=True, lost_at__isnull=True)
                | Q(lost_events__isnull=False, lost_at__isnull=False),
                name="sartiq_task_lost_whole",
            ),
        ]
        permissions = [
            ("ask_task", "Can have the cluster asked about silent tasks"),
            ("mark_task_lost", "Can mark silent tasks as lost, and take the mark back"),
        ]

    def __str__(self) -> str:
        return str(self.task_id)

    @property
    def is_ended(self) -> bool:
        """Whether it has succeeded or failed, or was cancelled."""
        return Meaning(self.meaning).is_terminal

    @property
    def has_succeeded(self) -> bool:
        """Whether its status means that it succeeded."""
        return self.meaning == Meaning.SUCCEEDED

    @property
    def has_failed(self) -> bool:
        """Whether its status means that it failed."""
        return self.meaning == Meaning.FAILED

    @property
    def is_lost(self) -> bool:
        """Whether it is marked as lost, and no event has come since."""
        return self.lost_events == self.event_count and not self.is_ended

    def is_silent(self, now: datetime | None = None) -> bool:
        """Return whether no event of it came for longer than ``SILENT_AFTER`` or ``QUEUED_AFTER`` allows."""
        limit = app_settings().silence_limit(self.meaning, self.task_type)
        return limit is not None and self.last_received_at < (now or timezone.now()) - limit

    @property
    def phase(self) -> Phase | None:
        """Whether it is queued, running or ended; None if its status has no known meaning."""
        return Meaning(self.meaning).phase

    @property
    def phase_since(self) -> datetime | None:
        """When it entered the phase that it is in, by the times of its events.

        None if the row cannot tell: the status has no known meaning, or an event says another phase
        after the first one that says this (a retry). Then it is some time after ``phase_after``.
        """
        if self.phase is None:
            return None
        order = list(Phase).index  # of two phases at the same time the later one is the present one
        start: datetime | None = getattr(self, f"first_{self.phase}_at")
        has_returned = start is not None and any(
            (at, order(phase)) > (start, order(self.phase)) for phase, at in self._last_in_others()
        )
        return None if has_returned else start

    @property
    def phase_after(self) -> datetime | None:
        """The time of the latest event that says another phase than it is in; None if there is none."""
        return max((at for _phase, at in self._last_in_others()), default=None)

    @property
    def waited(self) -> timedelta | None:
        """How long it was queued before it first ran; None if it never was, or has not run yet."""
        return between(self.first_queued_at, self.first_running_at)

    @property
    def first_run(self) -> timedelta | None:
        """How long it ran before it first ended; None if it never did, or has not ended yet."""
        return between(self.first_running_at, self.first_ended_at)

    def _last_in_others(self) -> list[tuple[Phase, datetime]]:
        times = [(phase, getattr(self, f"last_{phase}_at")) for phase in Phase if phase is not self.phase]
        return [(phase, at) for phase, at in times if at is not None]

    def duration(self, now: datetime) -> timedelta:
        """Return how long the task took, or has taken until ``now`` if it has not ended."""
        start = self.started_at or self.first_event_at
        if not self.is_ended:
            return now - start
        return (self.completed_at or self.phase_since or self.status_at or self.last_event_at) - start


def between(start: datetime | None, end: datetime | None) -> timedelta | None:
    """Return the time from ``start`` to ``end``; None if one is unknown, or they are in the wrong order."""
    return end - start if start and end and end >= start else None
