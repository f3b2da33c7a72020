"""Exceptions that a handler raises to decide about its reaction."""

from __future__ import annotations

from datetime import timedelta


class RetryLater(Exception):
    """Call the handler again after ``seconds``: this is not a failure and costs no attempt."""

    def __init__(self, message: str = "", *, seconds: float = 60) -> None:
        super().__init__(message or f"Put off for {seconds:g} s")
        self.delay = timedelta(seconds=seconds)


class GiveUp(Exception):
    """Make no other attempt, because none would help: the reaction is dead until a person decides."""
