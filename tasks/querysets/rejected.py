"""Reads of rejected deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Count, Q, QuerySet

if TYPE_CHECKING:
    from ..models import RejectedDelivery  # noqa: F401 (the type of the rows)


class RejectedDeliveryQuerySet(QuerySet["RejectedDelivery"]):
    """Reads of rejected deliveries."""

    def open(self) -> RejectedDeliveryQuerySet:
        """Return those that were neither accepted since nor settled by staff."""
        return self.filter(outcome=self.model.Outcome.OPEN)

    def received_since(self, time: datetime) -> RejectedDeliveryQuerySet:
        """Return those that were received at ``time`` or later."""
        return self.filter(received_at__gte=time)

    def numbers_of_task(self, task_id: str, *, cap: int) -> tuple[int, int]:
        """Return how many name the task, and how many of these are open, by one look into an index.

        Only the newest ``cap`` + 1 are counted.
        """
        newest = self.filter(named_task=task_id).order_by("-received_at")[: cap + 1]
        is_open = Q(outcome=self.model.Outcome.OPEN)
        counted = newest.aggregate(all=Count("pk"), open=Count("pk", filter=is_open))
        return counted["all"], counted["open"]
