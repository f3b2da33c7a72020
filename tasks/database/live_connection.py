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

from django.db import Error, OperationalError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import UnreadablePostError

from ..conf import app_settings
from ..models import TaskStatusEvent
from .sqlite_file import leave_replaced_files

_Result = TypeVar("_Result")


def on_live_connection(operation: Callable[[], _Result]) -> _Result:
    """Return what ``operation`` returns; if its session is at fault, try once more in a new one.

    A restarted server leaves dead connections behind, a demoted one read-only sessions, and SQLite's
    sessions stay with a file that was replaced. To test each connection before use would cost every
    request a round trip; this costs none. After a conflict with another transaction, of which READ COMMITTED
    knows only deadlocks, the same session tries once more.

    ``operation`` must be idempotent. It may use any database, such as another one for tokens. Inside a
    host's transaction it is not tried again.
    """
    connection: Any = connections[router.db_for_write(TaskStatusEvent)]
    connection.health_check_done = True  # skip Django's own check, which CONN_HEALTH_CHECKS turns on
    leave_replaced_files(connection)
    session = connection.connection
    try:
        result = in_time(operation, connection)
        if not leave_replaced_files(connection):
            return result
    except Error as error:
        if not _may_be_cured(error, connection, session):
            raise
    return in_time(operation, connection)


#: The beginnings of SQLSTATEs that a new session would meet too: of the data (22, 23), of exhausted resources
#: (53), of limits (54), and of the two timeouts. And that of conflicts between transactions.
#: https://www.postgresql.org/docs/current/errcodes-appendix.html
_NOT_OF_THE_SESSION = ("22", "23", "53", "54", "55P03", "57014")
_CONFLICT = "40"


def _may_be_cured(error: Error, ledger: Any, session: Any) -> bool:
    """End the sessions that may be at fault for ``error``; return whether another try may succeed.

    ``session`` is the one that the connection ``ledger`` had before.
    """
    sqlstate: str = getattr(error.__cause__, "sqlstate", None) or ""
    if sqlstate.startswith(_NOT_OF_THE_SESSION):
        return False
    opened = [one for one in connections.all(initialized_only=True) if one.connection is not None]
    # At the end of a transaction of the operation's own, a rollback has removed Django's mark of an error.
    failed = [one for one in opened if one.errors_occurred] or opened
    free = [one for one in failed if one.autocommit and not one.in_atomic_block]
    if sqlstate.startswith(_CONFLICT):
        return bool(free)
    # If even the rollback failed, Django has opened a new session, or one of the same age from the pool.
    is_replaced = session is not None and ledger.connection is not session
    at_fault = [
        one
        for one in free
        if sqlstate or _is_read_only(error) or (is_replaced and one is ledger) or not one.is_usable()
    ]
    for one in at_fault:
        _end_session(one)
    return bool(at_fault)


def _is_read_only(error: Error) -> bool:
    """Return whether SQLite could only read: a file that was read-only when it was opened stays so."""
    return getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY


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
    stopped or has lost its disk never answers, and psycopg never stops waiting. If no file can be opened to
    connect, psycopg passes the system's error on: it becomes an ``OperationalError`` like all others.
    """
    ticket = _watch(ledger)
    try:
        return operation()
    except UnreadablePostError:  # the client's doing
        raise
    except OSError as error:
        raise OperationalError(str(error)) from error
    finally:
        if ticket:
            _deadlines.release(ticket)


def _watch(ledger: BaseDatabaseWrapper | None) -> object | None:
    """Have the connections cut after ``DATABASE_TIMEOUT``; return the ticket, or None if none is watched."""
    timeout = app_settings().database_timeout
    if timeout is None:
        return None
    # ``ledger`` saves looking the only connection up again, which would take longer than all else here.
    every = [ledger] if ledger and [*connections] == [ledger.alias] else connections.all()
    watched = [one for one in every if one.vendor == "postgresql"]
    return _deadlines.watch(watched, time.monotonic() + timeout.total_seconds()) if watched else None


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
