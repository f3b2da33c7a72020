"""Durable handlers: a host's functions, called for a task's changes until they succeed.

A host imports from here. ``docs/handlers.md`` explains it.
"""

from .change import Change
from .exceptions import GiveUp, RetryLater
from .registry import on_change, on_event, on_found, on_lost

__all__ = ("Change", "GiveUp", "RetryLater", "on_change", "on_event", "on_found", "on_lost")
