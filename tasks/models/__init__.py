"""The ledger of events and the current state of each task.

``ledger.recording`` is the only writer of both. Events are append-only: after the insert nothing
but the count of deliveries changes.
"""

from .events import TaskStatusEvent
from .overview import Overview as Overview
from .reactions import Handler, Reaction
from .rejected import RejectedDelivery
from .silences import Silence
from .tasks import Task

__all__ = ("Handler", "Reaction", "RejectedDelivery", "Silence", "Task", "TaskStatusEvent")
