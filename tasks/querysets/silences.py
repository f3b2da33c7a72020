"""Reads of the watchdog's memory."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import QuerySet

if TYPE_CHECKING:
    from ..models import Silence  # noqa: F401 (the type of the rows)


class SilenceQuerySet(QuerySet["Silence"]):
    """Reads of the watchdog's memory."""

    def due(self, now: datetime) -> SilenceQuerySet:
        """Return the silences that are to be looked at."""
        return self.filter(due_at__lte=now)

    def judged(self) -> SilenceQuerySet:
        """Return the silences whose tasks are to be marked as lost."""
        return self.filter(judged_at__isnull=False)
