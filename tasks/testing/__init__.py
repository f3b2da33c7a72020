"""What a host's tests need. Nothing here is imported unless a test asks for it."""

from .bodies import event_body, full_event_body
from .handlers import CRASH_POINTS, Handlers, WorkerKilled

__all__ = ("CRASH_POINTS", "Handlers", "WorkerKilled", "event_body", "full_event_body")
