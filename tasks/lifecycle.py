"""The meaning of a status, and the rule by which one of two events wins: pure functions, no database.

A task's state is a set of *registers*: groups of columns that change together, such as the status
or the origin. An event claims the registers it has something to say on, each under an *order key*;
of two claims on a register the one with the greater key stands. Beside them stand plain times: the
earliest and the latest of a kind. Taking the greater or the lesser is commutative, associative and
idempotent, so the state is the same in whatever order, how often and how concurrently the events
arrive (a map of last-writer-wins registers). ``ledger.upsert`` has the database do the same merge in
one upsert; ``docs/ordering.md`` explains the rule.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import reduce
from typing import Any, NamedTuple

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from .conf import AppSettings, normalise

__all__ = ("Meaning", "Phase")

#: The columns of one task's row, by name.
State = dict[str, Any]


class Phase(StrEnum):
    """The part of its life that a task is in."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class Meaning(TextChoices):
    """What a status says about a task, whatever the sender calls it."""

    QUEUED = "queued", _("Queued")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    OTHER = "other", _("Other")

    @property
    def is_terminal(self) -> bool:
        """Whether a task with such a status has ended."""
        return self in TERMINAL

    @property
    def phase(self) -> Phase | None:
        """The phase of a task with such a status; None if the status does not tell."""
        if self.is_terminal:
            return Phase.ENDED
        return None if self is Meaning.OTHER else Phase(self.value)


TERMINAL = frozenset({Meaning.SUCCEEDED, Meaning.FAILED, Meaning.CANCELLED})

#: The columns of each register, by the column that holds the order key of the claim that stands.
REGISTERS: Mapping[str, tuple[str, ...]] = {
    "first_order": ("first_event_id",),
    "last_order": ("last_event_id", "last_event_at", "event_type", "task_type", "progress"),
    "status_order": ("status", "meaning", "status_at"),
    "error_order": ("error_message", "error_category"),
    "started_order": ("started_at",),
    "completed_order": ("completed_at",),
    "entity_order": ("entity_id",),
    "origin_order": ("origin_instance", "origin_zone", "origin_version"),
}
#: An event that has nothing to say on a register claims it under this key, lower than any other.
NO_CLAIM = b""
#: Of these columns the earliest time stands, and of those the latest; null says nothing.
EARLIEST = ("first_event_at", *(f"first_{phase}_at" for phase in Phase))
LATEST = ("last_received_at", *(f"last_{phase}_at" for phase in Phase))

_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INVERTED = bytes(range(255, -1, -1))
# With equal times a later phase wins, then the higher progress, then the event's digest.
_RANK = {Meaning.OTHER: 1, Meaning.QUEUED: 0, Meaning.RUNNING: 2}
_TERMINAL_RANK = 3


class _Said(NamedTuple):
    """What a status of a meaning says. An enum's properties take longer than to look all of it up once."""

    meaning: Meaning
    value: str
    is_terminal: bool
    rank: int
    #: Whether a task with such a status no longer has the error, or the end, that it had before.
    ends_error: bool
    ends_completion: bool
    #: The columns of its phase's times.
    times: tuple[str, ...]


_SAID = {
    meaning.value: _Said(
        meaning,
        meaning.value,
        meaning.is_terminal,
        _RANK.get(meaning, _TERMINAL_RANK),
        ends_error=meaning not in (Meaning.FAILED, Meaning.CANCELLED),
        ends_completion=not meaning.is_terminal,
        times=(f"first_{meaning.phase}_at", f"last_{meaning.phase}_at") if meaning.phase else (),
    )
    for meaning in Meaning
}
_NO_TIMES = dict.fromkeys(f"{which}_{phase}_at" for which in ("first", "last") for phase in Phase)


def meaning_of(status: str | None, settings: AppSettings) -> Meaning:
    """Return what ``status`` means by the settings; an unknown or null one is ``OTHER``."""
    return _said_by(status, settings).meaning


def _said_by(status: str | None, settings: AppSettings) -> _Said:
    if status is None:
        return _SAID["other"]
    meanings = settings.meanings
    return _SAID[meanings.get(status) or meanings.get(normalise(status), "other")]


def event_time(timestamp: datetime | None, received_at: datetime, tolerance: timedelta) -> datetime:
    """Return when an event happened: its timestamp, but the time of receipt for one that has none
    or one further ahead of the time of receipt than ``tolerance``, so that one wrong clock cannot
    freeze a task.
    """
    if timestamp is None or timestamp - received_at > tolerance:
        return received_at
    return timestamp


def order_key(event: Mapping[str, Any], *, received_at: datetime, tie: bytes, settings: AppSettings) -> bytes:
    """Return the place of ``event`` in the total order on a task's events, as bytes that sort.

    Events that have a timestamp or a terminal status come after all that have neither, so that a late
    ``running`` without a timestamp undoes no ending. Then the time decides, and ``tie`` at last.
    """
    at = event_time(event["timestamp"], received_at, settings.clock_tolerance)
    return _order_key(event, said=_said_by(event["status"], settings), at=at, tie=tie)


def _order_key(event: Mapping[str, Any], *, said: _Said, at: datetime, tie: bytes) -> bytes:
    return struct.pack(
        ">?QBd8s",
        event["timestamp"] is not None or said.is_terminal,
        (at - _YEAR_ONE) // _MICROSECOND,
        said.rank,
        # The bytes of floats sort as the floats do, if none is negative: -0.0 becomes 0.0.
        event["progress"] + 0.0,
        tie,
    )


def state_of(
    event: Mapping[str, Any], *, event_id: int, received_at: datetime, tie: bytes, settings: AppSettings
) -> State:
    """Return the state of a task of which ``event`` is the only event known."""
    at = event_time(event["timestamp"], received_at, settings.clock_tolerance)
    said = _said_by(event["status"], settings)
    key = _order_key(event, said=said, at=at, tie=tie)
    instance, zone, version = event["origin_instance"], event["origin_zone"], event["origin_version"]
    has_status = event["status"] is not None
    has_error = event["error_message"] is not None or event["error_category"] is not None
    has_origin = instance is not None or zone is not None or version is not None
    # A task that runs again, or has succeeded, no longer has the error or the end it had before.
    ends_error = has_status and said.ends_error
    ends_completion = has_status and said.ends_completion
    return {
        # The first event is the earliest in time, whether or not it has a timestamp.
        "first_order": key[1:].translate(_INVERTED),
        "first_event_id": event_id,
        "first_event_at": at,
        "last_order": key,
        "last_event_id": event_id,
        "last_event_at": at,
        "event_type": event["event_type"],
        "task_type": event["task_type"],
        "progress": event["progress"],
        "status_order": key if has_status else NO_CLAIM,
        "status": event["status"],
        "meaning": said.value,
        "status_at": at if has_status else None,
        "error_order": key if has_error or ends_error else NO_CLAIM,
        "error_message": event["error_message"],
        "error_category": event["error_category"],
        "started_order": key if event["started_at"] is not None else NO_CLAIM,
        "started_at": event["started_at"],
        "completed_order": key if event["completed_at"] is not None or ends_completion else NO_CLAIM,
        "completed_at": event["completed_at"],
        "entity_order": key if event["entity_id"] is not None else NO_CLAIM,
        "entity_id": event["entity_id"],
        "origin_order": key if has_origin else NO_CLAIM,
        "origin_instance": instance,
        "origin_zone": zone,
        "origin_version": version,
        **_NO_TIMES,
        **dict.fromkeys(said.times, at),
        "last_received_at": received_at,
        "event_count": 1,
    }


def merge(one: State, other: State) -> State:
    """Return the state of a task of which both sets of events are known.

    The sets must be disjoint for ``event_count`` to be right; all else is idempotent.
    """
    merged = dict(one)
    for order, columns in REGISTERS.items():
        if other[order] > one[order]:
            merged[order] = other[order]
            merged.update((column, other[column]) for column in columns)
    for columns, extreme in ((EARLIEST, min), (LATEST, max)):
        for column in columns:
            known = [time for time in (one[column], other[column]) if time is not None]
            merged[column] = extreme(known, default=None)
    merged["event_count"] = one["event_count"] + other["event_count"]
    return merged


def fold(states: Iterable[State]) -> State:
    """Return the state that all events together make; there must be at least one."""
    return reduce(merge, states)


def tie_of(payload_digest: bytes, idempotency_key: bytes) -> bytes:
    """Return the eight bytes that break a tie between events: theirs alone, and known to both."""
    return hashlib.sha256(payload_digest + idempotency_key).digest()[:8]
