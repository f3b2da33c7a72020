"""The watchdog's memory of a task that has fallen silent: when it asked the cluster, and the answer.

``ledger.silence`` is the only writer.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ..querysets import SilenceQuerySet
from .columns import column

if TYPE_CHECKING:
    from .tasks import Task

    class SilenceManager(SilenceQuerySet, models.Manager["Silence"]):  # type: ignore[misc]
        """A manager with the methods of its QuerySet."""


class Silence(models.Model):
    """The last silence of one task."""

    class Answer(models.TextChoices):
        """The outcome of asking the cluster."""

        ALIVE = "alive", _("The cluster says that it runs")
        GONE = "gone", _("The cluster does not know it")
        REPORT = "report", _("The cluster reported a new event")
        KNOWN = "known", _("The cluster reported what was stored already")
        ERROR = "error", _("The cluster could not be asked, or gave no valid answer")

    task: Task = column(
        models.OneToOneField(
            "Task",
            models.DO_NOTHING,
            primary_key=True,
            related_name="silence",
            db_constraint=False,
            verbose_name=_("task"),
        )
    )
    task_id: str
    #: The task's ``event_count`` when it was noticed: after another event this row is about the past.
    event_count: int = column(models.PositiveBigIntegerField(_("events")))
    noticed_at: datetime = column(models.DateTimeField(_("noticed at")))
    #: How often its last events had been delivered when it was looked at: a heartbeat may be a duplicate.
    deliveries: int = column(models.PositiveBigIntegerField(_("deliveries")))
    #: The event received last says that the task has ended, and one with a later timestamp that it has not:
    #: the strongest sign that a clock was ahead, and that it has ended.
    says_ended: bool = column(models.BooleanField(_("ended by what was received last"), default=False))
    #: The last sign of life that is not an event: the cluster's word, a duplicate, or a person's.
    alive_at: datetime | None = column(models.DateTimeField(_("last sign of life"), null=True))
    asked_at: datetime | None = column(models.DateTimeField(_("asked at"), null=True))
    answer: str | None = column(
        models.CharField(_("answer"), max_length=6, choices=Answer.choices, null=True)
    )
    error: str | None = column(models.TextField(_("error"), null=True))
    #: How often the cluster was asked in vain since its last answer.
    failures: int = column(models.PositiveIntegerField(_("failures"), default=0))
    #: Since when the cluster has not known it.
    gone_since: datetime | None = column(models.DateTimeField(_("gone since"), null=True))
    #: Since when it would be marked as lost, if it were not held back.
    judged_at: datetime | None = column(models.DateTimeField(_("judged at"), null=True))
    #: When to look next; None if there is nothing more to find out.
    due_at: datetime | None = column(models.DateTimeField(_("next look"), null=True))

    objects: ClassVar[SilenceManager] = column(SilenceQuerySet.as_manager())

    class Meta:
        verbose_name = _("silence")
        verbose_name_plural = _("silences")
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["due_at"], name="sartiq_silence_due", condition=Q(due_at__isnull=False)),
            models.Index(
                fields=["judged_at"], name="sartiq_silence_judged", condition=Q(judged_at__isnull=False)
            ),
            models.Index(fields=["task"], name="sartiq_silence_says_ended", condition=Q(says_ended=True)),
        ]

    def __str__(self) -> str:
        return str(self.pk)
