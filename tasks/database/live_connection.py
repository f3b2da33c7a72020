"""What to do while the database is away: try once more, wait so long and no longer."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from ..conf import app_settings
from ..models import TaskStatusEvent

_Result = TypeVar("_Result")


def on_live_connection(operation: Callable[[], _Result]) -> _Result:
    """Return what ``operation`` returns; if its connection turns out to be dead, try once on a new one.

    A server that was restarted leaves dead connections behind. To ask each before its use would
    cost every request a round trip; this costs none. What is tried twice must be idempotent.
    """
    connection: Any = connections[router.db_for_write(TaskStatusEvent)]
    connection.health_check_done = True  # Django's own check, where CONN_HEALTH_CHECKS asks for it
    try:
        return _in_time(operation, connection)
    except (InterfaceError, OperationalError):
        if connection.in_atomic_block or connection.connection is None or connection.is_usable():
            raise
        connection.close()
    return _in_time(operation, connection)


def _in_time(operation: Callable[[], _Result], connection: BaseDatabaseWrapper) -> _Result:
    """Return what ``operation`` returns; it fails after the setting ``DATABASE_TIMEOUT``.

    The server's own timeouts (``statement_timeout``, ``lock_timeout``) bound what it works on. One
    that is stopped or has lost its disk answers nothing at all, and psycopg waits for ever.
    """
    timeout = app_settings().database_timeout
    if timeout is None or connection.vendor != "postgresql":
        return operation()
    ticket = _watchdog.watch(connection, time.monotonic() + timeout.total_seconds())
    try:
        return operation()
    finally:
        _watchdog.release(ticket)


class _Watchdog:
    """One thread a process, which cuts connections that are waited for past their deadline."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[object, tuple[BaseDatabaseWrapper, float]] = {}
        self._thread: threading.Thread | None = None

    def watch(self, connection: BaseDatabaseWrapper, until: float) -> object:
        ticket = object()
        with self._lock:
            self._watched[ticket] = (connection, until)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="database-deadlines", daemon=True)
                self._thread.start()
        return ticket

    def release(self, ticket: object) -> None:
        with self._lock:
            self._watched.pop(ticket, None)

    def _run(self) -> None:
        while True:
            time.sleep(0.25)
            with self._lock:
                now = time.monotonic()
                for ticket, (connection, until) in list(self._watched.items()):
                    if until < now:
                        del self._watched[ticket]
                        _cut(connection)


def _cut(connection: Any) -> None:
    """Shut the connection's socket down: who waits for it sees it closed by the server."""
    if connection.connection is None:
        return  # not connected yet, which connect_timeout bounds
    with (
        suppress(OSError, connection.Database.Error),  # closed in the meantime
        socket.socket(fileno=os.dup(connection.connection.pgconn.socket)) as duplicate,
    ):
        duplicate.shutdown(socket.SHUT_RDWR)


_watchdog = _Watchdog()
