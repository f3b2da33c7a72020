"""Tools for a host's tests. Nothing else in the app imports them."""

from .bodies import event_body, full_event_body
from .cases import ComputeTestMixin
from .compute import Compute, make_token, signed_headers
from .handlers import CRASH_POINTS, Handlers, WorkerKilled
from .stories import orders, story

__all__ = (
    "CRASH_POINTS",
    "Compute",
    "ComputeTestMixin",
    "Handlers",
    "WorkerKilled",
    "event_body",
    "full_event_body",
    "make_token",
    "orders",
    "signed_headers",
    "story",
)
