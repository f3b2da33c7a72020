"""Reads of the ledger and of the tasks, for the admin and for hosts: fast at any size.

Nothing here sorts, counts or compares the whole of a table: each method is served by an index, or
stops after a fixed number of rows.
"""

from .events import TaskStatusEventQuerySet
from .reactions import ReactionQuerySet
from .rejected import RejectedDeliveryQuerySet
from .silences import SilenceQuerySet
from .tasks import TaskQuerySet

__all__ = (
    "ReactionQuerySet",
    "RejectedDeliveryQuerySet",
    "SilenceQuerySet",
    "TaskQuerySet",
    "TaskStatusEventQuerySet",
)
