"""Exceptions that a handler raises to decide about its reaction."""

from __future__ import annotations

from datetime import timedelta

#: Nothing is put off for longer: what a service asks for may go past the end of the calendar.
LONGEST_DELAY = timedelta(days=365)


class RetryLater(Exception):
    """Call the handler again after ``seconds``, a year at the most. This is not a failure and costs no
    attempt.
    """

    def __init__(self, message: str = "", *, seconds: float = 60) -> None:
        super().__init__(message or f"Put off for {seconds:g} s")
        self.delay = timedelta(seconds=min(seconds, LONGEST_DELAY.total_seconds()))


class GiveUp(Exception):
    """Make no other attempt, because none would help: the reaction is dead until a person decides."""
