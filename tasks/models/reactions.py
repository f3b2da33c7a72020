"""The rows of the durable handlers: what each of them has to do about an event, and the handlers themselves.

``ledger.recording`` inserts a reaction with its event; ``handlers`` claims, runs and marks it.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ..conf import COLUMN_LENGTH
from ..querysets import ReactionQuerySet
from .columns import column

if TYPE_CHECKING:
    from .tasks import Task

    class ReactionManager(ReactionQuerySet, models.Manager["Reaction"]):  # type: ignore[misc]
        """A manager with the methods of its QuerySet."""


class Reaction(models.Model):
    """What one handler has to do about one event of a task, and how far that got."""

    class Kind(models.TextChoices):
        """Why it is there."""

        CHANGE = "change", _("the task's status changed its meaning")
        EVENT = "event", _("an event was stored")
        LOST = "lost", _("the task was marked as lost")
        FOUND = "found", _("an event arrived for a task that was marked as lost")

    class State(models.TextChoices):
        """How far it got."""

        PENDING = "pending", _("Pending")
        DONE = "done", _("Done")
        DEAD = "dead", _("Dead")
        SKIPPED = "skipped", _("Given up by a person")

    id: int
    task: Task = column(
        models.ForeignKey(
            "Task",
            models.DO_NOTHING,
            related_name="reactions",
            db_constraint=False,
            db_index=False,
            verbose_name=_("task"),
        )
    )
    task_id: str
    handler: str = column(models.CharField(_("handler"), max_length=100))
    #: The task's ``event_count`` as the event left it: given under the task's lock, so that it is the order
    #: of the commits.
    seq: int = column(models.PositiveBigIntegerField(_("number in the task")))
    kind: str = column(models.CharField(_("kind"), max_length=6, choices=Kind.choices))
    event_id: int | None = column(models.BigIntegerField(_("event"), null=True))
    previous: str | None = column(models.CharField(_("status before"), max_length=COLUMN_LENGTH, null=True))
    status: str | None = column(models.CharField(_("status after"), max_length=COLUMN_LENGTH, null=True))
    state: str = column(
        models.CharField(_("state"), max_length=7, choices=State.choices, default=State.PENDING)
    )
    #: Counted by the claim and never set back: the fence between two workers that hold the same row.
    attempts: int = column(models.PositiveIntegerField(_("attempts"), default=0))
    #: Attempts that do not count: given back, put off by the handler, or of before a replay.
    excused: int = column(models.PositiveIntegerField(_("excused"), default=0))
    replays: int = column(models.PositiveIntegerField(_("replays"), default=0))
    due_at: datetime = column(models.DateTimeField(_("next attempt")))
    created_at: datetime = column(models.DateTimeField(_("created at")))
    #: Set while an attempt has no outcome.
    started_at: datetime | None = column(models.DateTimeField(_("started at"), null=True))
    ended_at: datetime | None = column(models.DateTimeField(_("ended at"), null=True))
    error: str | None = column(models.TextField(_("last error"), null=True))

    objects: ClassVar[ReactionManager] = column(ReactionQuerySet.as_manager())

    class Meta:
        verbose_name = _("reaction")
        verbose_name_plural = _("reactions")
        default_permissions = ("view",)
        permissions = [("decide_reaction", "Can try reactions again and give them up")]
        indexes = [
            models.Index(
                fields=["task", "handler", "seq"], name="sartiq_reaction_head", condition=Q(state="pending")
            ),
            # What is being run, what a dead worker has left, and what was put off: few, and none just stored.
            models.Index(
                fields=["task", "handler"],
                name="sartiq_reaction_tried",
                condition=Q(state="pending", attempts__gt=0),
            ),
            models.Index(fields=["handler", "id"], name="sartiq_reaction_dead", condition=Q(state="dead")),
            # For claims, which must not read past what waits for another handler, and for the admin.
            models.Index(
                fields=["handler", "due_at"], name="sartiq_reaction_waits", condition=Q(state="pending")
            ),
            # For the admin alone. What is paid for each reaction holds no more than it must.
            models.Index(fields=["handler", "id"], name="sartiq_reaction_handler"),
            models.Index(
                fields=["state", "id"],
                name="sartiq_reaction_ended",
                condition=Q(state__in=("dead", "skipped")),
            ),
        ]
        constraints = [
            # On PostgreSQL this is the primary key. It begins with task_id, as every unique key does.
            models.UniqueConstraint(fields=["task", "handler", "seq", "kind"], name="sartiq_reaction_once"),
        ]

    def __str__(self) -> str:
        return f"{self.handler}: {self.task_id} #{self.seq}"

    @property
    def attempt(self) -> int:
        """The number of this attempt among those that count."""
        return self.attempts - self.excused

    @property
    def key(self) -> str:
        """An idempotency key for a service that the handler calls: the same at every attempt."""
        return f"{self.handler}:{self.task_id}:{self.seq}"


class Handler(models.Model):
    """A handler as the database knows it: since when, whether it is paused, and when a worker served it."""

    name: str = column(models.CharField(_("name"), max_length=100, primary_key=True))
    registered_at: datetime = column(models.DateTimeField(_("registered at")))
    paused_at: datetime | None = column(models.DateTimeField(_("paused at"), null=True, blank=True))
    seen_at: datetime | None = column(models.DateTimeField(_("last worker seen"), null=True))

    objects: ClassVar[models.Manager[Handler]]

    class Meta:
        verbose_name = _("handler")
        verbose_name_plural = _("handlers")
        default_permissions = ("view",)
        permissions = [("pause_handler", "Can pause and resume handlers")]

    def __str__(self) -> str:
        return str(self.name)
