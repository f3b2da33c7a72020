"""Retry once on a dead connection, and limit how long an unresponsive database can block a request."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from django.db import Error, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from ..conf import app_settings
from ..models import TaskStatusEvent
from .sqlite_file import leave_replaced_files

_Result = TypeVar("_Result")


def on_live_connection(operation: Callable[[], _Result]) -> _Result:
    """Return what ``operation`` returns; if its session is at fault, try once more in a new one.

    A restarted server leaves dead connections behind, a demoted one read-only sessions, and SQLite's
    sessions stay with a file that was replaced. To test each connection before use would cost every
    request a round trip; this costs none.

    ``operation`` must be idempotent. It may use any database, such as another one for tokens. Inside a
    host's transaction it is not tried again.
    """
    connection: Any = connections[router.db_for_write(TaskStatusEvent)]
    connection.health_check_done = True  # skip Django's own check, which CONN_HEALTH_CHECKS turns on
    leave_replaced_files(connection)
    try:
        result = in_time(operation, connection)
        if not leave_replaced_files(connection):
            return result
    except Error as error:
        at_fault = [one for one in connections.all(initialized_only=True) if _is_at_fault(one, error)]
        if not at_fault:
            raise
        for one in at_fault:
            _end_session(one)
    return in_time(operation, connection)


#: The beginnings of SQLSTATEs that a new session would meet too: of the data (22, 23), of conflicts
#: between transactions (40), of exhausted resources (53), of limits (54), and of the two timeouts.
#: https://www.postgresql.org/docs/current/errcodes-appendix.html
_NOT_OF_THE_SESSION = ("22", "23", "40", "53", "54", "55P03", "57014")


def _is_at_fault(connection: Any, error: Error) -> bool:
    """Return whether ``error`` may come from this connection, and a new session may cure it."""
    if not connection.errors_occurred or connection.connection is None:
        return False
    if connection.in_atomic_block or not connection.autocommit:
        return False
    return _is_of_the_session(error, connection)


def _is_of_the_session(error: Error, connection: Any) -> bool:
    """Return whether a new session may cure ``error``, such as after a demotion or of an outdated plan."""
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    if sqlstate is not None:
        return not sqlstate.startswith(_NOT_OF_THE_SESSION)
    # SQLite: a file that was read-only when it was opened stays so for that session.
    if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY:
        return True
    return not connection.is_usable()


def _end_session(connection: Any) -> None:
    """Close the connection, and have its pool, if it has one, replace the others, which are as old."""
    pool = getattr(connection, "pool", None)
    if pool:
        connection.connection.close()
        getattr(pool, "drain", pool.check)()  # psycopg-pool 3.3 drains; before, dead ones alone are replaced
    connection.close()


def in_time(operation: Callable[[], _Result], ledger: BaseDatabaseWrapper | None = None) -> _Result:
    """Return what ``operation`` returns, and have it fail after ``DATABASE_TIMEOUT``.

    The server's own timeouts (``statement_timeout``, ``lock_timeout``) bind a server that works. One that is
    stopped or has lost its disk never answers, and psycopg never stops waiting.
    """
    timeout = app_settings().database_timeout
    if timeout is None:
        return operation()
    # ``ledger`` saves looking the only connection up again, which would take longer than all else here.
    every = [ledger] if ledger and [*connections] == [ledger.alias] else connections.all()
    watched = [one for one in every if one.vendor == "postgresql"]
    if not watched:
        return operation()
    ticket = _deadlines.watch(watched, time.monotonic() + timeout.total_seconds())
    try:
        return operation()
    finally:
        _deadlines.release(ticket)


class _Deadlines:
    """One thread for the whole process that cuts connections on which somebody waits past a deadline."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[object, tuple[Sequence[BaseDatabaseWrapper], float]] = {}
        self._thread: threading.Thread | None = None

    def watch(self, watched: Sequence[BaseDatabaseWrapper], until: float) -> object:
        ticket = object()
        with self._lock:
            self._watched[ticket] = (watched, until)
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
                for ticket, (watched, until) in list(self._watched.items()):
                    if until < now:
                        del self._watched[ticket]
                        for connection in watched:
                            if _waits(connection):
                                cut(connection)


def _waits(connection: Any) -> bool:
    """Return whether a statement is running. An idle connection is left alone, even in a transaction."""
    session = connection.connection
    active = connection.Database.pq.TransactionStatus.ACTIVE
    return session is not None and session.pgconn.transaction_status == active


def cut(connection: Any) -> None:
    """Shut the connection's socket down, which a thread that waits for it sees as closed by the server."""
    session = connection.connection
    if session is None:
        return  # not connected yet, which connect_timeout bounds
    with (
        suppress(OSError, connection.Database.Error),  # closed in the meantime
        socket.socket(fileno=os.dup(session.pgconn.socket)) as duplicate,
    ):
        duplicate.shutdown(socket.SHUT_RDWR)


_deadlines = _Deadlines()
