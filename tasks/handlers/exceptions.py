"""Exceptions by which a handler decides about its reaction."""

from __future__ import annotations

from datetime import timedelta


class RetryLater(Exception):
    """Not now, and not a failure: the handler is called again after ``seconds``. It costs no attempt."""

    def __init__(self, message: str = "", *, seconds: float = 60) -> None:
        super().__init__(message or f"Put off for {seconds:g} s")
        self.delay = timedelta(seconds=seconds)


class GiveUp(Exception):
    """Another attempt would not help: the reaction is dead at once, for a person to decide."""
