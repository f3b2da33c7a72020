"""The deliveries that were rejected, kept for a person to look at."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ..querysets import RejectedDeliveryQuerySet
from .columns import column, name

if TYPE_CHECKING:

    class RejectedDeliveryManager(RejectedDeliveryQuerySet, models.Manager["RejectedDelivery"]):  # type: ignore[misc]
        """A manager with the methods of its QuerySet."""


class RejectedDelivery(models.Model):
    """A delivery of a known sender that was rejected, kept for a person to look at.

    ``rejections`` writes it. It is kept for ``REJECTED_RETENTION``.
    """

    class Outcome(models.TextChoices):
        """Whether it still needs somebody, and why not."""

        OPEN = "open", _("Open")
        SENT = "sent", _("Sent again")
        TRIED = "tried", _("Tried again")
        SETTLED = "settled", _("Settled")

    received_at: datetime = column(models.DateTimeField(_("received at")))
    source: str = name(_("source"), help_text=_("The client that sent it."))
    status: int = column(models.PositiveSmallIntegerField(_("answer")))
    errors: Any = column(models.JSONField(_("errors")))
    #: Each ``field:type`` once, a space before and after it, for the filters to find.
    faults: str = column(models.TextField(_("faults")))
    headers: Any = column(models.JSONField(_("headers")))
    idempotency_key: bytes | None = column(models.BinaryField(_("idempotency key"), null=True))
    body: bytes = column(models.BinaryField(_("body")))
    is_whole: bool = column(models.BooleanField(_("whole")))
    not_kept: int = column(
        models.PositiveIntegerField(
            _("not kept"),
            default=0,
            help_text=_("Further rejections from this client in the same minute, counted but not stored."),
        )
    )
    #: The task and the status that its body names, as far as it can be read. (A column by the name of
    #: ``task_id`` would be spread over a cluster's nodes.)
    named_task: str | None = name(_("task"), null=True)
    named_status: str | None = name(_("status"), null=True)
    outcome: str = column(
        models.CharField(_("outcome"), max_length=7, choices=Outcome.choices, default=Outcome.OPEN)
    )
    #: When its event was accepted, or when staff said that it needs nobody, and who did that.
    settled_at: datetime | None = column(models.DateTimeField(_("settled at"), null=True))
    settled_by: str | None = name(_("settled by"), null=True)

    objects: ClassVar[RejectedDeliveryManager] = column(RejectedDeliveryQuerySet.as_manager())

    class Meta:
        verbose_name = _("rejected delivery")
        verbose_name_plural = _("rejected deliveries")
        default_permissions = ("view",)
        permissions = [("retry_rejecteddelivery", "Can try rejected deliveries again and settle them")]
        indexes = [
            models.Index(fields=["received_at"], name="sartiq_rejected_received"),
            models.Index(fields=["source", "received_at"], name="sartiq_rejected_source"),
            models.Index(
                fields=["named_task", "received_at"],
                name="sartiq_rejected_task",
                condition=Q(named_task__isnull=False),
            ),
            models.Index(fields=["received_at"], name="sartiq_rejected_open", condition=Q(outcome="open")),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome="open", settled_at__isnull=True)
                | (~Q(outcome="open") & Q(settled_at__isnull=False)),
                name="sartiq_rejected_outcome",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source}: {self.status}"
