"""The watchdog in a thread of its own, beside whatever else the process does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import close_old_connections, connections

from ..conf import app_settings
from .asking import Asker
from .looking import Look, look

logger = logging.getLogger("sartiq_tasks.watchdog")

#: So often the watchdog looks: a silence is found within its limit and this.
EVERY = timedelta(seconds=20)
#: One look may take so long, for those who wait for it.
PATIENCE = timedelta(minutes=2)


class Watch:
    """Looks again and again until it is told to stop. It never keeps the process from ending."""

    def __init__(
        self, *, every: timedelta = EVERY, report: Callable[[Look], object] = lambda found: None
    ) -> None:
        self._every, self._asker, self._report = every.total_seconds(), Asker(), report
        self._stopping, self._told_to_stop = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self, *, once: bool = False) -> None:
        """Begin to look in a thread of its own; with ``once``, look once."""
        if once:
            self._stopping.set()
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and let nobody wait for the look that is on."""
        self._told_to_stop = True
        self._stopping.set()

    def wait(self, timeout: timedelta = PATIENCE) -> bool:
        """Wait until the last look is over, but not for ever; return whether it is over."""
        end = time.monotonic() + timeout.total_seconds()
        while self._thread.is_alive() and time.monotonic() < end and not self._told_to_stop:
            self._thread.join(0.1)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._look()
            while not self._stopping.wait(self._every):
                self._look()
        finally:
            connections.close_all()

    def _look(self) -> None:
        if not app_settings().watches:
            return
        close_old_connections()
        try:
            self._report(look(self._asker))
        except Exception:
            logger.exception("The watchdog could not look; it looks again")
            connections.close_all()
