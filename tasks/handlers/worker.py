"""The worker: one thread claims reactions, others run them, and two extend the leases and sweep."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from django.utils import timezone

from ..conf import app_settings
from ..database.failures import first_line
from ..database.live_connection import cut, in_time
from ..models import Handler
from . import blocked, claiming, holding
from .leases import LOOKS, SHARE, Every, Held, Lapsed
from .registry import Declared, by_name
from .running import Report, TimedOut, attempt, fail, logged, name_of
from .sql import database

logger = logging.getLogger("sartiq_tasks.handlers")

#: Seconds between two looks for what is blocked or has lapsed, and between two sweeps.
_LOOK, _SWEEP = 5.0, 60.0
#: Seconds for which a run with ``once`` tries to use a failing database.
PATIENCE = 30.0


class Worker:
    """Claims reactions of the handlers ``names``, and runs them in ``threads`` threads until ``stop()``.

    ``sweep`` is called each minute with the names, ``report`` after each attempt.
    """

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
        self._sweep, self._report = sweep, report
        self._using = database()
        # SQLite has one lock for all writers, and they poll for it: so threads take turns before they do.
        self._one_at_a_time = connections[self._using].vendor != "postgresql"
        self._turn: AbstractContextManager[Any] = threading.Lock() if self._one_at_a_time else nullcontext()
        self._held: dict[int, Held] = {}
        self._taking = threading.Lock()
        self._queue: queue.SimpleQueue[Held | None] = queue.SimpleQueue()
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._lapsed, self._take_over = Lapsed(), list[int]()
        self._hangs = False
        self._looked = self._swept = float("-inf")
        self._failing_since: float | None = None
        self._threads = [
            threading.Thread(target=self._serve, daemon=True, name=f"handlers-{number}")
            for number in range(threads)
        ]
        self._keepers = [
            Every("leases", lambda: app_settings().handler_lease.total_seconds() / SHARE, self._extend),
            Every("sweep", lambda: _LOOK, self._look_after),
        ]

    def stop(self) -> None:
        """Have ``run()`` finish the reactions that are running, give back the rest, and return."""
        self._stopping.set()
        self._woken.set()

    def run(self, *, once: bool = False) -> bool:
        """Work until ``stop()``, or with ``once`` until nothing is due; return False if a handler hangs.

        With ``once``, raise the database's error if it fails for longer than ``PATIENCE``.
        """
        for thread in (*self._threads, *self._keepers):
            thread.start()
        try:
            while not (self._stopping.is_set() or self._hangs):
                held = bool(self._held)  # before the step: it may have kept something due from being claimed
                took = self._step(patience=PATIENCE if once else float("inf"))
                if once and not (took or held or self._lapsed):
                    break
                if not took:
                    self._woken.wait(app_settings().handler_poll.total_seconds())
                    self._woken.clear()
        finally:
            self._finish()
        return not self._hangs

    def _step(self, *, patience: float = float("inf")) -> bool:
        """Do what is due; return whether anything was claimed, or may have been."""
        try:
            close_old_connections()
            self._end_overdue(time.monotonic())
            if self._hangs or self._is_locked():
                return False  # SQLite's lock is held: a thread that waits for it cannot watch over runs
            took = in_time(self._claim)
        except (DatabaseError, InterfaceError) as error:
            self._failed(error, time.monotonic(), patience)
            return True  # nobody knows what is due
        if self._failing_since is not None:
            logger.warning("The worker can use its database again")
            self._failing_since = None
        return took

    def _failed(self, error: Exception, now: float, patience: float) -> None:
        """Wait before the next try; raise ``error`` if the database has failed for ``patience``."""
        connections[self._using].close()
        self._lapsed.forget()
        if self._failing_since is None:
            self._failing_since = now
            logger.warning("The worker cannot use its database, and tries again: %s", first_line(error))
        if now - self._failing_since >= patience:
            raise error
        self._stopping.wait(1)

    def _extend(self) -> None:
        """Extend the leases of everything that is held."""
        held = [one.reaction for one in list(self._held.values()) if not one.abandoned]
        with self._turn:
            in_time(lambda: holding.extend(held, lease=app_settings().handler_lease))

    def _look_after(self) -> None:
        """Put off what is blocked; less often note that this worker is alive, and sweep."""
        blocked.put_off_blocked(self._turn)
        if blocked.is_crowded(self._names):
            blocked.shorten_chains(self._turn)
        if time.monotonic() - self._swept >= _SWEEP:
            with self._turn:
                mark_seen(self._names, self._using)
            self._sweep(self._names)
            self._swept = time.monotonic()

    def _is_locked(self) -> bool:
        """Return whether an atomic run holds SQLite's only lock or waits for it."""
        return self._one_at_a_time and any(
            one.taken and one.handler.atomic for one in list(self._held.values())
        )

    def _claim(self) -> bool:
        lease = app_settings().handler_lease
        self._look(lease.total_seconds())
        # A reaction that killed its process must not take others with it.
        if any(one.suspect for one in list(self._held.values())):
            return False
        if suspects := bool(self._take_over):
            if self._held:
                return False
            claimed = claiming.claim(self._names, limit=1, lease=lease, suspects=True, among=self._take_over)
            self._take_over = [pk for pk in self._take_over if claimed and pk != claimed[0].pk]
            if claimed and not self._take_over:
                self._looked = float("-inf")  # look soon whether there are more
        else:
            # Several by one claim, and while the threads still have something to do.
            free = 2 * len(self._threads) - len(self._held)
            if free < len(self._threads):
                return False
            claimed = claiming.claim(self._names, limit=free, lease=lease)
            self._names = self._names[1:] + self._names[:1]  # so that none waits behind another's backlog
        for reaction in claimed:
            held = Held(reaction, self._handlers[reaction.handler], suspect=suspects)
            self._held[reaction.pk] = held
            self._queue.put(held)
        return bool(claimed)

    def _look(self, lease: float) -> None:
        """Look for leases that have run out, unless the last look was a moment ago."""
        now = time.monotonic()
        if self._take_over or now - self._looked < min(_LOOK, lease / LOOKS):
            return
        found = claiming.lapsed(self._names)
        if found:
            claiming.wait_for_lock()
            found = claiming.lapsed(self._names)
        self._looked = time.monotonic()
        self._take_over = self._lapsed.look(found, now=self._looked, lease=lease)

    def _serve(self) -> None:
        try:
            while (held := self._queue.get()) is not None:
                if self._take(held):
                    self._attempt(held)
        finally:
            connections.close_all()

    def _take(self, held: Held) -> bool:
        """Take what was claimed, unless it is to be given back."""
        with self._taking:
            held.taken = not (self._stopping.is_set() or self._hangs) and held.reaction.pk in self._held
            if not self._one_at_a_time:
                held.begin()  # from here it waits for nothing but a server that does not answer
            return held.taken

    def _attempt(self, held: Held) -> None:
        try:
            close_old_connections()
            held.connection = connections[self._using]
            with self._turn if held.handler.atomic else nullcontext():
                self._report(attempt(held.reaction, held.handler, self._using, held.begin))
        except Exception:
            logger.exception(
                "An outcome could not be written; the reaction is tried again after its lease: %s",
                name_of(held.reaction),
            )
        finally:
            if not held.abandoned:
                self._held.pop(held.reaction.pk, None)
            self._woken.set()

    def _end_overdue(self, now: float) -> None:
        for held in list(self._held.values()):
            if held.began is None or held.abandoned or now - held.began < self._limit(held.handler):
                continue
            held.abandoned = self._hangs = True
            logger.error("A handler takes too long; the worker ends: %s", name_of(held.reaction))
            if held.handler.atomic and self._one_at_a_time:
                continue  # it holds SQLite's lock until this process ends, so nothing can be stored
            if held.handler.atomic:
                cut(held.connection)  # the server rolls its transaction back
            limit = timedelta(seconds=self._limit(held.handler))
            self._fail_abandoned(held, TimedOut(f"The handler ran for longer than {limit}."))

    def _fail_abandoned(self, held: Held, error: TimedOut) -> None:
        # Until the server has noticed that the connection is cut, the row is locked.
        for _ in range(20):
            try:
                outcome = fail(held.reaction, held.handler, error, self._using)
            except DatabaseError:
                connections[self._using].close()
                time.sleep(0.1)
            else:
                took = time.monotonic() - (held.began or 0)
                lag = (held.reaction.started_at or held.reaction.created_at) - held.reaction.created_at
                self._report(logged(held.reaction, outcome, error, seconds=took, lag=lag.total_seconds()))
                return

    def _limit(self, handler: Declared) -> float:
        """Return the seconds that a run may take: fewer if it is atomic on SQLite and holds deliveries up."""
        limit = handler.timeout.total_seconds()
        connection = connections[self._using]
        if handler.atomic and self._one_at_a_time:
            limit = min(limit, float(connection.settings_dict["OPTIONS"].get("timeout", 5)) / 2)
        return limit

    def _finish(self) -> None:
        """Give back what no thread has taken, and wait for what is running."""
        self._stopping.set()
        while True:
            self._end_overdue(time.monotonic())
            # Threads that wait for a lock that a hanging handler holds have written nothing.
            waits_in_vain = self._hangs and self._is_locked()
            if not self._is_locked():
                self._give_back()
            if waits_in_vain or not self._running():
                break
            self._woken.wait(0.05)
            self._woken.clear()
        for keeper in self._keepers:
            keeper.stop()
        for _ in self._threads:
            self._queue.put(None)
        for thread in () if self._hangs else (*self._threads, *self._keepers):
            thread.join(PATIENCE)

    def _give_back(self) -> None:
        with self._taking:
            waiting = [one for one in list(self._held.values()) if not one.taken]
            for one in waiting:
                del self._held[one.reaction.pk]
        try:
            holding.give_back(one.reaction for one in waiting)
        except (DatabaseError, InterfaceError):
            connections[self._using].close()

    def _running(self) -> bool:
        return any(one.taken and not one.abandoned for one in list(self._held.values()))


def mark_seen(names: Sequence[str], using: str) -> None:
    """Store that a worker serves the handlers ``names`` now, and since when each is known."""
    now = timezone.now()
    handlers = Handler.objects.using(using)
    handlers.bulk_create([Handler(name=name, registered_at=now) for name in names], ignore_conflicts=True)
    handlers.filter(name__in=names).update(seen_at=now)
