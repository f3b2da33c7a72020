"""Leases: what a worker holds, the threads that keep it, and the watch over those that ran out."""

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

#: A lease is extended this often in its time, and renewed within that share of it once it has run out.
SHARE = 3
#: Such a lease is looked at this often in its time.
LOOKS = 12
#: Two looks that are this many seconds apart leave no gap, however short a lease is.
GAP = 2.0


@dataclass(eq=False)
class Held:
    """A reaction that this worker has claimed."""

    reaction: Reaction
    handler: Declared
    #: Whether its last attempt ended without an outcome: it may have killed its worker.
    suspect: bool = False
    #: Whether a thread has it.
    taken: bool = False
    #: When the handler was called: until then the thread may wait for the database.
    began: float | None = None
    connection: Any = None
    abandoned: bool = False

    def begin(self) -> None:
        """Note that the handler is called now."""
        self.began = time.monotonic()


class Every(threading.Thread):
    """Do a job again and again, in a thread and on connections of its own, until told to stop.

    Nothing that the rest of the worker waits for makes it late. If the database fails it, it tries
    again soon.
    """

    def __init__(self, name: str, seconds: Callable[[], float], job: Callable[[], object]) -> None:
        super().__init__(name=f"handlers-{name}", daemon=True)
        self._seconds, self._job = seconds, job
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End after the job that runs, if one does."""
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
    """Leases that ran out, by what this worker has seen of them.

    Whatever keeps a worker from extending a lease, such as a database that was away or SQLite's lock,
    mostly keeps every worker. So a reaction is taken over only if this one has looked at it for a share
    of the lease, without a gap, and its worker still has not extended it.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[int, int], float] = {}
        self._last = float("-inf")

    def __bool__(self) -> bool:
        """Whether there are any that may have to be taken over."""
        return bool(self._since)

    def look(self, found: Iterable[tuple[int, int]], *, now: float, lease: float) -> list[int]:
        """Take note of those ``found`` by id and attempt; return the ids of those to be taken over."""
        patience = lease / SHARE
        known = self._since if now - self._last < max(patience, GAP) else {}
        self._last = now
        self._since = {one: known.get(one, now) for one in found}
        return [pk for (pk, _), since in self._since.items() if now - since >= patience]

    def forget(self) -> None:
        """Begin again: this worker could not look, so others may not have been able to extend."""
        self._since = {}
