"""The watchdog in threads of its own, beside the other work of the process."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from django.db import close_old_connections, connections
from django.utils import timezone

from ..conf import app_settings
from ..ledger.silence import database
from ..models import Silence
from .asker import Asker
from .looking import ask, look, mark, notice

logger = logging.getLogger("sartiq_tasks.watchdog")

#: The time between two looks: a silence is noticed this long after its limit, at the latest.
EVERY = timedelta(seconds=20)
#: How long a caller waits for a look.
PATIENCE = timedelta(minutes=2)


class Watch:
    """Looks again and again until ``stop()`` is called. It never keeps the process from ending.

    It asks in a second thread: a cluster that does not answer delays neither what is noticed nor what is
    marked.
    """

    def __init__(
        self, *, every: timedelta = EVERY, report: Callable[[Counter[str]], object] = lambda answers: None
    ) -> None:
        self._every, self._asker, self._report = every.total_seconds(), Asker(), report
        self._stopping = threading.Event()
        self._looking: threading.Thread | None = None
        self._asking: threading.Thread | None = None

    def start(self, *, once: bool = False) -> None:
        """Begin to look in a thread of its own; with ``once``, look once, and ask in the same thread."""
        self._looking = _in_thread("watchdog", self._look_once if once else self._look_again)

    def stop(self) -> None:
        """Stop looking, and end every ``wait()`` for a look that is under way."""
        self._stopping.set()

    def wait(self, timeout: timedelta = PATIENCE) -> bool:
        """Wait for the last look, up to ``timeout``; return whether it is over."""
        end = time.monotonic() + timeout.total_seconds()
        while _is_alive(self._looking) and time.monotonic() < end:
            if self._stopping.wait(0.1):
                break
        return not _is_alive(self._looking)

    def _look_once(self) -> None:
        self._try(lambda: self._report(look(self._asker).answers))

    def _look_again(self) -> None:
        self._try(self._look)
        while not self._stopping.wait(self._every):
            self._try(self._look)

    def _look(self) -> None:
        notice()
        if not _is_alive(self._asking) and Silence.objects.using(database()).due(timezone.now()).exists():
            self._asking = _in_thread("watchdog-asks", self._ask)
        mark(timezone.now())

    def _ask(self) -> None:
        self._try(lambda: self._report(ask(self._asker)))

    def _try(self, step: Callable[[], object]) -> None:
        if not app_settings().watches:
            return
        close_old_connections()
        try:
            step()
        except Exception:
            logger.exception("The watchdog could not look; it looks again")
            connections.close_all()


def _in_thread(name: str, job: Callable[[], object]) -> threading.Thread:
    """Do ``job`` in a thread that closes its connections, and that no process waits for when it ends."""

    def run() -> None:
        try:
            job()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def _is_alive(thread: threading.Thread | None) -> bool:
    return thread is not None and thread.is_alive()
