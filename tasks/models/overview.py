"""The counts behind the admin's overview: a row for each hour of the last two weeks.

``ops.hours`` counts and keeps them. They can be deleted at any time: they are counted again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from .columns import column


class Overview(models.Model):
    """What happened in one hour, as it was counted last."""

    hour: datetime = column(models.DateTimeField(_("hour"), primary_key=True))
    counted_at: datetime = column(models.DateTimeField(_("counted at")))
    #: What two weeks are added up from, and what only the last day is told of: a page reads the
    #: counts of each hour, and the details, a hundred times as much, of few.
    counts: Any = column(models.JSONField(_("counts")))
    details: Any = column(models.JSONField(_("details")))

    objects: ClassVar[models.Manager[Overview]]

    class Meta:
        verbose_name = _("compute overview")
        verbose_name_plural = _("compute overview")
        # Everyone who may see tasks may see how many there are.
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.hour)
