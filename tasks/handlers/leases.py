"""Leases: what a worker holds, the threads that keep it, and when another worker's lease has run out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from ..models import Reaction
from .registry import Declared

logger = logging.getLogger("sartiq_tasks.handlers")

#: A worker extends a lease this many times before it runs out. One that has run out may still be extended for
#: one such share of it, until another worker takes the reaction over.
SHARE = 3
#: Another worker looks this many times in the length of a lease for those that have run out.
LOOKS = 12
#: Looks at most this many seconds apart leave no gap, however short the lease is.
GAP = 2.0


@dataclass(eq=False)
class Held:
    """A reaction that this worker has claimed."""

    reaction: Reaction
    handler: Declared
    #: Whether its last attempt ended without an outcome: it may have killed its worker.
    suspect: bool = False
    #: Whether a thread has taken it.
    taken: bool = False
    #: When the handler was called. Until then the thread may wait for the database.
    began: float | None = None
    connection: Any = None
    abandoned: bool = False

    def begin(self) -> None:
        """Note that the handler is called now."""
        self.began = time.monotonic()


class Every(threading.Thread):
    """Do a job again and again, in a thread and on connections of its own, until told to stop.

    So nothing that the rest of the worker waits for can delay it. If the database fails, it tries again soon.
    """

    def __init__(self, name: str, seconds: Callable[[], float], job: Callable[[], object]) -> None:
        super().__init__(name=f"handlers-{name}", daemon=True)
        self._seconds, self._job = seconds, job
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End when the job that is running, if any, is done."""
        self._stopping.set()

    def run(self) -> None:
        """Work until told to stop."""
        try:
            while not self._stopping.wait(self._do()):
                pass
        finally:
            connections.close_all()

    def _do(self) -> float:
        """Do the job once; return the seconds until the next time."""
        seconds = self._seconds()
        try:
            close_old_connections()
            self._job()
        except (DatabaseError, InterfaceError) as error:
            logger.debug("%s failed and is tried again: %s", self.name, error)
            connections.close_all()
            return min(seconds, 1.0)
        except Exception:
            logger.exception("%s failed", self.name)
        return seconds


class Lapsed:
    """The leases that this worker has seen run out.

    What keeps one worker from extending a lease, such as a database outage or SQLite's lock, mostly keeps
    them all from it. So a reaction is taken over only if this worker has looked at it without a gap for a
    share of the lease, and nobody has extended it meanwhile.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[int, int], float] = {}
        self._last = float("-inf")

    def __bool__(self) -> bool:
        """Whether any may have to be taken over."""
        return bool(self._since)

    def look(self, found: Iterable[tuple[int, int]], *, now: float, lease: float) -> list[int]:
        """Note those ``found``, by id and attempt, at ``now`` seconds; return the ids to take over."""
        patience = lease / SHARE
        known = self._since if now - self._last < max(patience, GAP) else {}
        self._last = now
        self._since = {one: known.get(one, now) for one in found}
        return [pk for (pk, _), since in self._since.items() if now - since >= patience]

    def forget(self) -> None:
        """Start over, because this worker could not look, and others may have been unable to extend."""
        self._since = {}
