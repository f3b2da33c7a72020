"""The worker: one thread claims and minds the leases, others run what it claimed."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from django.utils import timezone

from ..conf import app_settings
from ..database.live_connection import cut
from ..models import Handler, Reaction
from . import claiming
from .registry import Declared, by_name
from .running import Report, TimedOut, attempt, fail

logger = logging.getLogger("sartiq_tasks.handlers")

#: Seconds between two looks for suspects, between two extensions as a share of the lease, between two sweeps.
_LOOK, _SHARE, _SWEEP = 5.0, 3, 60.0


@dataclass
class _Held:
    """A reaction that this worker has claimed."""

    reaction: Reaction
    handler: Declared
    began: float | None = None
    connection: Any = None
    abandoned: bool = field(default=False)


class Worker:
    """Claims reactions and runs them in ``threads`` threads until it is told to stop."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        threads: int,
        sweep: Callable[[Sequence[str]], object] = lambda names: None,
        report: Callable[[Report], object] = lambda report: None,
    ) -> None:
        self._handlers = {name: one for name, one in by_name().items() if name in names}
        self._names = list(self._handlers)
        self._threads, self._sweep, self._report = threads, sweep, report
        self._using = claiming.database()
        self._held: dict[int, _Held] = {}
        self._queue: queue.SimpleQueue[_Held] = queue.SimpleQueue()
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._alone = self._hangs = False
        self._extended = self._looked = self._swept = float("-inf")

    def stop(self) -> None:
        """Finish what runs, give back the rest, and return from ``run()``."""
        self._stopping.set()
        self._woken.set()

    def run(self, *, once: bool = False) -> bool:
        """Work until ``stop()``, or with ``once`` until nothing is due; return False if a handler hangs."""
        for _ in range(self._threads):
            threading.Thread(target=self._serve, daemon=True, name="handlers").start()
        while not (self._stopping.is_set() or self._hangs):
            held = bool(self._held)  # before the step: what it could not claim for that may be due
            took = self._step()
            if once and not took and not held:
                break
            if not took:
                self._woken.wait(app_settings().handler_poll.total_seconds())
                self._woken.clear()
        self._finish()
        return not self._hangs

    def _step(self) -> bool:
        """Do what is due; return whether anything was claimed."""
        try:
            close_old_connections()
            self._end_overdue(time.monotonic())
            if self._hangs or self._is_locked():
                return False  # SQLite's lock is held: to wait for it would keep this thread from its watch
            self._mind()
            return self._claim()
        except (DatabaseError, InterfaceError):
            logger.warning("The worker cannot use its database; it tries again", exc_info=True)
            connections[self._using].close()
            self._stopping.wait(1)
            return True  # nobody knows what is due

    def _mind(self) -> None:
        """Extend leases, end what takes too long, look for suspects, sweep; each in its own time."""
        now, lease = time.monotonic(), app_settings().handler_lease
        if now - self._extended >= lease.total_seconds() / _SHARE:
            self._extended = now
            claiming.extend([one.reaction for one in self._to_extend()], lease=lease)
        if now - self._swept >= _SWEEP:
            self._swept = now
            see(self._names, self._using)
            claiming.put_off_blocked()
            self._sweep(self._names)
        if now - self._looked >= _LOOK:
            self._looked = now
            self._alone = self._alone or claiming.has_suspect(self._names)

    def _is_locked(self) -> bool:
        """Return whether an atomic run holds SQLite's only lock."""
        return connections[self._using].vendor != "postgresql" and any(
            one.began is not None and one.handler.atomic for one in list(self._held.values())
        )

    def _to_extend(self) -> list[_Held]:
        # An atomic run has locked its row, which protects it better than a lease and would keep this waiting.
        return [
            one
            for one in list(self._held.values())
            if not one.abandoned and (one.began is None or not one.handler.atomic)
        ]

    def _claim(self) -> bool:
        lease = app_settings().handler_lease
        if self._alone:
            # Whatever kills the process shall take nothing else with it.
            if self._held:
                return False
            claimed = claiming.claim(self._names, limit=1, lease=lease, suspects=True)
            self._alone = bool(claimed)
        if not self._alone:
            free = 2 * self._threads - len(self._held)
            claimed = claiming.claim(self._names, limit=free, lease=lease) if free > 0 else []
        for reaction in claimed:
            held = _Held(reaction, self._handlers[reaction.handler])
            self._held[reaction.pk] = held
            self._queue.put(held)
        return bool(claimed)

    def _serve(self) -> None:
        while True:
            held = self._queue.get()
            if self._stopping.is_set() or self._hangs or self._held.get(held.reaction.pk) is not held:
                continue
            close_old_connections()
            held.connection = connections[self._using]
            held.began = time.monotonic()
            try:
                self._report(attempt(held.reaction, held.handler, self._using))
            except Exception:
                logger.exception(
                    "An outcome could not be written; the reaction is tried again after its lease"
                )
            finally:
                if not held.abandoned and self._held.get(held.reaction.pk) is held:
                    self._held.pop(held.reaction.pk, None)
                self._woken.set()

    def _end_overdue(self, now: float) -> None:
        for held in list(self._held.values()):
            if held.began is None or held.abandoned or now - held.began < self._limit(held.handler):
                continue
            held.abandoned = self._hangs = True
            logger.error("The handler %s takes too long; the worker ends", held.handler.name)
            if held.handler.atomic and held.connection.vendor != "postgresql":
                continue  # it holds SQLite's lock: that is only free when this process has ended
            if held.handler.atomic:
                cut(held.connection)  # the server rolls its transaction back
            limit = timedelta(seconds=self._limit(held.handler))
            self._fail_abandoned(held, TimedOut(f"The handler ran for longer than {limit}."))

    def _fail_abandoned(self, held: _Held, error: TimedOut) -> None:
        # Until the server has noticed that the connection is cut, the row is locked.
        for _ in range(20):
            try:
                fail(held.reaction, held.handler, error, self._using)
                return
            except DatabaseError:
                connections[self._using].close()
                time.sleep(0.1)

    def _limit(self, handler: Declared) -> float:
        """Return the seconds that a run may take: on SQLite an atomic one holds up every delivery."""
        limit = handler.timeout.total_seconds()
        connection = connections[self._using]
        if handler.atomic and connection.vendor == "sqlite":
            limit = min(limit, float(connection.settings_dict["OPTIONS"].get("timeout", 5)) / 2)
        return limit

    def _finish(self) -> None:
        """Give back what has not begun, and wait for what has."""
        while (running := self._running()) or self._held:
            if self._is_locked():
                self._end_overdue(time.monotonic())
                if self._hangs or not running:
                    break  # the others wait for the lock, and nothing of theirs is written
                self._woken.wait(0.05)
                self._woken.clear()
                continue
            waiting = [one for one in list(self._held.values()) if one.began is None]
            for one in waiting:
                self._held.pop(one.reaction.pk, None)
            try:
                claiming.give_back(one.reaction for one in waiting)
                self._end_overdue(time.monotonic())
                claiming.extend(
                    [one.reaction for one in self._to_extend()], lease=app_settings().handler_lease
                )
            except (DatabaseError, InterfaceError):
                connections[self._using].close()
            if not running:
                break
            self._woken.wait(0.2)
            self._woken.clear()

    def _running(self) -> list[_Held]:
        return [one for one in list(self._held.values()) if one.began is not None and not one.abandoned]


def see(names: Sequence[str], using: str) -> None:
    """Write down that a worker serves the handlers ``names``, and since when each is known."""
    now = timezone.now()
    handlers = Handler.objects.using(using)
    handlers.bulk_create([Handler(name=name, registered_at=now) for name in names], ignore_conflicts=True)
    handlers.filter(name__in=names).update(seen_at=now)
