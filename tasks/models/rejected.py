"""The deliveries that were rejected, kept for a person to look at."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from .columns import column, name


class RejectedDelivery(models.Model):
    """A delivery of a known sender that was rejected, kept for a person to look at.

    ``rejections`` writes it. It is kept for ``REJECTED_RETENTION``.
    """

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
    accepted_at: datetime | None = column(models.DateTimeField(_("accepted at"), null=True))

    class Meta:
        verbose_name = _("rejected delivery")
        verbose_name_plural = _("rejected deliveries")
        default_permissions = ("view",)
        permissions = [("retry_rejecteddelivery", "Can try rejected deliveries again")]
        indexes = [
            models.Index(fields=["received_at"], name="sartiq_rejected_received"),
            models.Index(fields=["source", "received_at"], name="sartiq_rejected_source"),
        ]

    def __str__(self) -> str:
        return f"{self.source}: {self.status}"
