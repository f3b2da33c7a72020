"""A database that is down: a 503 in bounded time, and no restart once it is back."""

from __future__ import annotations

import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import (
    DataError,
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
    transaction,
)
from django.db.models import F
from django.http import UnreadablePostError
from django.utils import timezone

from tasks.database import live_connection
from tasks.database.live_connection import cut, in_time, on_live_connection
from tasks.models import Handler, RejectedDelivery, Task
from tests.disks import full, small_disk
from tests.factories import body, record, rejected
from tests.servers import (
    PostgreSQL,
    Server,
    copy_migrated_sqlite,
    manage,
    private_postgresql,
    serving,
    temporary_directory,
)

POSTGRESQL = connection.vendor == "postgresql"
on_postgresql = pytest.mark.skipif(not POSTGRESQL, reason="about PostgreSQL alone")
on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite alone")
#: Shorter than in production, so that the tests need not wait long.
TIMEOUTS = {"DB_TIMEOUT": "2", "DB_LOCK_TIMEOUT_MS": "800", "DB_STATEMENT_TIMEOUT_MS": "1500"}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    # As few connections as show what happens when there are no more.
    with (
        temporary_directory() as place,
        private_postgresql(place, "max_connections=14", "superuser_reserved_connections=0") as server,
    ):
        yield server


@pytest.fixture(scope="module")
def served(postgresql: PostgreSQL) -> Iterator[Server]:
    with serving(postgresql.url, WORKERS="2", THREADS="2", **TIMEOUTS) as server:
        yield server


def unavailable(server: Server, **changes: Any) -> bool:
    """Return whether an event is answered with the 503 that makes a sender retry."""
    answer = server.post(body(**changes), timeout=20)
    assert answer.status_code in (200, 503), answer.text
    if answer.status_code == 503:
        assert int(answer.headers["Retry-After"]) > 0
        assert "Send it again" in answer.json()["detail"]
    return answer.status_code == 503


def posts(server: Server, number: int) -> list[int]:
    """Post many at once, to every thread of every worker, and return the statuses."""
    started = time.monotonic_ns()
    with ThreadPoolExecutor(8) as pool:
        return list(
            pool.map(lambda n: server.post(body(task_id=f"{started}-{n}")).status_code, range(number))
        )


@on_postgresql
def test_stopped_and_started_again(postgresql: PostgreSQL, served: Server) -> None:
    assert not unavailable(served)
    postgresql.stop()
    try:
        assert unavailable(served, progress=6)
        form = {"grant_type": "password", "username": "ada", "password": "x"}
        token = served.get_token(form)
        assert (token.status_code, token.headers["Retry-After"]) == (503, "5")
        ready = served.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"status": "unavailable", "reason": "database"})
        assert served.get("/healthz").json() == {"status": "ok"}
    finally:
        postgresql.start("max_connections=14", "superuser_reserved_connections=0")
    assert not unavailable(served, progress=6)
    assert served.get("/readyz").json() == {"status": "ok"}


@on_postgresql
def test_restarted_while_connections_idle(postgresql: PostgreSQL, served: Server) -> None:
    assert set(posts(served, 24)) == {200}
    postgresql.stop("immediate")
    postgresql.start("max_connections=14", "superuser_reserved_connections=0")

    assert set(posts(served, 24)) == {200}, "no event has to notice"


@on_postgresql
def test_paused(postgresql: PostgreSQL, served: Server) -> None:
    assert set(posts(served, 24)) == {200}
    postgresql.pause()
    try:
        assert unavailable(served, task_id="paused")
    finally:
        postgresql.resume()
    assert not unavailable(served, task_id="paused")
    assert set(posts(served, 24)) == {200}


@on_postgresql
@pytest.mark.parametrize(
    "table", ["sartiq_tasks_task", "sartiq_tasks_taskstatusevent", "oauth2_provider_accesstoken"]
)
def test_locked(postgresql: PostgreSQL, served: Server, table: str) -> None:
    with psycopg.connect(postgresql.url) as other:
        other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        assert unavailable(served, task_id=table)
    assert not unavailable(served, task_id=table)


@on_postgresql
def test_a_statement_that_takes_too_long(postgresql: PostgreSQL) -> None:
    with serving(
        postgresql.url, WORKERS="1", **(TIMEOUTS | {"DB_LOCK_TIMEOUT_MS": "0", "DB_TIMEOUT": "30"})
    ) as server:
        with psycopg.connect(postgresql.url) as other:
            other.execute("LOCK TABLE sartiq_tasks_task IN ACCESS EXCLUSIVE MODE")
            assert unavailable(server, task_id="slow")
        assert not unavailable(server, task_id="slow")


@on_postgresql
def test_out_of_connections(postgresql: PostgreSQL) -> None:
    with serving(postgresql.url, WORKERS="1", THREADS="1", **TIMEOUTS) as server:
        with ExitStack() as others:
            with suppress(psycopg.OperationalError):  # too many clients already
                for _ in range(15):
                    others.enter_context(psycopg.connect(postgresql.url))
            assert unavailable(server, task_id="crowded")
        assert not unavailable(server, task_id="crowded")


@contextmanager
def free_files(number: int) -> Iterator[None]:
    """Let this process open no more files than ``number`` inside the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as others:
        highest = max(int(file.name) for file in Path("/proc/self/fd").iterdir())
        while (filling := os.dup(0)) < highest:
            others.callback(os.close, filling)
        others.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (filling + number, hard))
        os.close(filling)
        yield


@on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [0, 1])
def test_out_of_files(number: int) -> None:
    """With a socket and nothing to wait for it with, psycopg raises the system's error."""
    on_live_connection(Task.objects.exists)
    connection.close()
    with free_files(number), pytest.raises(OperationalError):
        on_live_connection(Task.objects.exists)

    assert on_live_connection(Task.objects.exists) is False


def test_a_client_that_goes_is_no_fault_of_the_database() -> None:
    def read() -> None:
        raise UnreadablePostError("gone")

    with pytest.raises(UnreadablePostError):
        in_time(read)


@on_postgresql
def test_out_of_disk_on_postgresql() -> None:
    with (
        small_disk("160m") as disk,
        private_postgresql(disk, "max_wal_size=32MB", "min_wal_size=32MB") as database,
        serving(database.url, WORKERS="1", **TIMEOUTS) as server,
    ):
        assert not unavailable(server)
        with full(disk):
            # What has room in pages at hand may still be stored: a large event has not.
            large = {"task_id": "large", "error_message": os.urandom(400_000).hex()}
            assert any(unavailable(server, **large, progress=number) for number in range(60))
        for _ in range(50):
            if not unavailable(server, task_id="after"):
                break
            time.sleep(0.2)
        assert not unavailable(server, task_id="after"), "it recovers by itself"


@on_sqlite
def test_out_of_disk_on_sqlite() -> None:
    with small_disk("8m") as disk, serving(f"sqlite:///{disk}/db.sqlite3", WORKERS="1", **TIMEOUTS) as server:
        assert not unavailable(server)
        with full(disk):
            assert unavailable(server, error_message="x" * 900_000)
        assert not unavailable(server, error_message="x" * 900_000)


@on_sqlite
def test_sqlite_is_busy(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path}/db.sqlite3?timeout=1", WORKERS="1") as server:
        assert not unavailable(server)
        other = sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert unavailable(server, progress=6)
        other.execute("ROLLBACK")
        other.close()
        assert not unavailable(server, progress=6)


def test_not_ready_before_the_migrations(postgresql_or_sqlite: str) -> None:
    copy_migrated_sqlite(postgresql_or_sqlite)
    with serving(postgresql_or_sqlite, migrate=False, WORKERS="1") as server:
        manage("migrate", "sartiq_tasks", "0001", "--verbosity", "0", database_url=postgresql_or_sqlite)
        answer = server.get("/readyz")
        assert (answer.status_code, answer.json()["reason"]) == (503, "migrations")
        manage("migrate", "--verbosity", "0", database_url=postgresql_or_sqlite)
        assert server.get("/readyz").status_code == 200


@pytest.fixture
def postgresql_or_sqlite(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if connection.vendor == "sqlite":
        return f"sqlite:///{tmp_path}/db.sqlite3"
    database: PostgreSQL = request.getfixturevalue("postgresql")
    return database.url


@pytest.mark.django_db(transaction=True)
def test_a_failure_on_a_live_connection_is_not_tried_again() -> None:
    tries = []

    def operation() -> None:
        tries.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        raise OperationalError("deadlock detected")

    with pytest.raises(OperationalError, match="deadlock"):
        on_live_connection(operation)
    assert len(tries) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "statement",
    [
        ("INSERT INTO sartiq_tasks_handler SELECT * FROM sartiq_tasks_handler",),
        pytest.param(("SELECT 1 / 0",), marks=on_postgresql),
        pytest.param(("SELECT %s", ["\0"]), marks=on_postgresql),
    ],
)
def test_a_fault_of_the_data_is_not_tried_again_whatever_failed_before(statement: Any) -> None:
    def operation() -> None:
        tries.append(1)
        with connection.cursor() as cursor:
            cursor.execute(*statement)

    tries: list[int] = []
    Handler.objects.create(name="refund", registered_at=timezone.now())
    with pytest.raises(ProgrammingError if POSTGRESQL else OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")
    with pytest.raises((DataError, IntegrityError)):
        on_live_connection(operation)
    assert len(tries) == 1


@on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "spoil",
    [
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET default_transaction_read_only = on",
        "SET search_path = nowhere",
        "DEALLOCATE ALL",
        "DISCARD ALL",
        "ALTER TABLE spoilt ADD COLUMN another integer",
        "SET ROLE pg_monitor",
        "SELECT pg_terminate_backend(pg_backend_pid())",
    ],
)
@pytest.mark.parametrize("begin", [nullcontext, transaction.atomic])
def test_what_a_new_session_cures_is_cured(spoil: str, begin: Any) -> None:
    tries: list[int] = []

    def operation() -> None:
        tries.append(1)
        with begin(), connection.cursor() as cursor:
            cursor.execute("UPDATE spoilt SET id = id")
            cursor.execute("SELECT * FROM spoilt")
            cursor.fetchall()

    def run(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    run("CREATE TABLE spoilt AS SELECT 1 AS id")
    try:
        for _ in range(4):  # until both statements are prepared
            operation()
        # As a pooler or another process would: if psycopg sees one, it forgets its prepared statements.
        connection.connection.pgconn.exec_(spoil.encode())
        tries.clear()
        on_live_connection(operation)
        assert len(tries) == 2, "it failed in the old session"
        on_live_connection(operation)
        assert len(tries) == 3
    finally:
        connection.close()
        run("DROP TABLE spoilt")


@on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_after_a_conflict_the_same_session_tries_once_more(level: str) -> None:
    """READ COMMITTED knows none of these, but a host's database may have another level as its default."""

    def write() -> None:
        try:
            record(key=f"{conflicts} {len(tries)}".encode())
        finally:
            connection.close()

    def operation() -> None:
        tries.append(1)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
            assert Task.objects.exists()
            if len(tries) <= conflicts:
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(write).result()
            Task.objects.update(event_count=F("event_count") + 1)

    record()
    session, tries, conflicts = connection.connection, list[int](), 1
    on_live_connection(operation)
    assert (len(tries), Task.objects.get().event_count) == (2, 3)
    assert connection.connection is session

    tries, conflicts = [], 2
    with pytest.raises(OperationalError, match="could not serialize"):
        on_live_connection(operation)
    assert len(tries) == 2


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_events_of_one_task_at_once_on_a_server_of_serializable_transactions(
    postgresql: PostgreSQL,
) -> None:
    with psycopg.connect(postgresql.url, autocommit=True) as other:
        other.execute("ALTER DATABASE postgres SET default_transaction_isolation = serializable")
    try:
        with serving(postgresql.url, WORKERS="1", THREADS="2", **TIMEOUTS) as server:
            assert not unavailable(server, task_id="one")
            with psycopg.connect(postgresql.url) as other, ThreadPoolExecutor(1) as pool:
                other.execute("UPDATE sartiq_tasks_task SET previous_status = 'x' WHERE task_id = 'one'")
                answer = pool.submit(unavailable, server, task_id="one", progress=6)
                wait_until_blocked(postgresql)
                other.commit()
                assert not answer.result()
    finally:
        with psycopg.connect(postgresql.url, autocommit=True) as other:
            other.execute("ALTER DATABASE postgres RESET default_transaction_isolation")


def wait_until_blocked(postgresql: PostgreSQL) -> None:
    """Wait until a statement waits for a lock."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with psycopg.connect(postgresql.url, autocommit=True) as other:
        until = time.monotonic() + 10
        while other.execute(waiting).fetchone() == (0,):
            assert time.monotonic() < until
            time.sleep(0.02)


@on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("begin", [nullcontext, transaction.atomic])
def test_a_session_that_was_cut_off_is_cured(begin: Any) -> None:
    """As by a crash of the server, which tells nothing. After a transaction Django replaces it by itself."""
    tries: list[int] = []

    def operation() -> bool:
        tries.append(1)
        with begin():
            return Task.objects.exists()

    on_live_connection(operation)
    cut(connection)
    assert on_live_connection(operation) is False
    assert len(tries) == 3


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_rejected_delivery_is_kept_though_its_session_was_cut_off() -> None:
    rejected()
    cut(connection)
    rejected()

    assert RejectedDelivery.objects.count() == 2


@on_sqlite
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("begin", [nullcontext, transaction.atomic])
def test_a_read_only_session_of_sqlite_is_cured(begin: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")
    tries: list[int] = []

    def operation() -> int:
        tries.append(1)
        with begin():
            return Task.objects.filter(pk=0).update(event_count=1)

    assert on_live_connection(operation) == 0
    assert len(tries) == 2, "it failed in the old session"


@pytest.fixture
def any_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Let a test use an alias that it makes itself, which a TestCase forbids; it writes nothing."""
    with django_db_blocker.unblock():
        yield


@contextmanager
def second_database(**options: Any) -> Iterator[Any]:
    """Another alias for the database of the test, whose connections are its own and not checked by Django."""
    database = connection.settings_dict
    connections.databases["second"] = database | {
        "OPTIONS": database["OPTIONS"] | options, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False
    }  # fmt: skip
    second: Any = connections["second"]
    try:
        yield second
    finally:
        second.close()
        if getattr(second, "pool", None):
            second.close_pool()
        del connections["second"], connections.databases["second"]


def ask(one: Any) -> Any:
    with one.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()


def update(one: Any) -> int:
    return Task.objects.using(one.alias).filter(pk=0).update(event_count=1)


def terminate_sessions_of(name: str) -> None:
    with connection.cursor() as cursor:
        for _ in range(50):  # until none is left
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [name]
            )
            if not cursor.fetchall():
                return
            time.sleep(0.1)
    raise AssertionError("a session does not end")


@pytest.mark.usefixtures("any_database")
def test_a_dead_connection_to_another_database_is_cured() -> None:
    """The other database may be the one that holds the tokens."""
    with second_database() as second:
        ask(connection)
        ask(second)
        live, dead = connection.connection, second.connection
        if connection.vendor == "sqlite":
            dead.execute("PRAGMA query_only = ON")
        else:
            dead.close()
        assert on_live_connection(lambda: update(second)) == 0
        assert connection.connection is live, "the other is left as it is"
        assert second.connection is not dead


@on_postgresql
@pytest.mark.usefixtures("any_database")
def test_a_session_of_another_database_that_is_shut_down_is_cured() -> None:
    """PostgreSQL ends it with 57P01, as pgbouncer or an administrator would."""
    with second_database(application_name="terminated") as second:
        ask(second)
        terminate_sessions_of("terminated")
        assert on_live_connection(lambda: ask(second)) == (1,)


@on_postgresql
@pytest.mark.usefixtures("any_database")
def test_a_pool_of_dead_connections_is_cured_at_once() -> None:
    pytest.importorskip("psycopg_pool", reason="psycopg-pool is not installed: no pool can be tried")
    with second_database(application_name="pooled", pool={"min_size": 4, "max_size": 4}) as second:
        ask(second)
        second.close()
        second.pool.wait()
        for _ in range(2):
            terminate_sessions_of("pooled")
            assert [on_live_connection(lambda: ask(second)) for _ in range(8)] == [(1,)] * 8
            second.close()


@on_postgresql
@pytest.mark.usefixtures("any_database")
def test_another_database_that_answers_nothing_is_given_up(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test may have started the process's thread while no coverage was counted.
    monkeypatch.setattr(live_connection, "_deadlines", live_connection._Deadlines())
    settings.SARTIQ_TASKS = settings.SARTIQ_TASKS | {"DATABASE_TIMEOUT": timedelta(seconds=1)}

    def sleep() -> None:
        with second.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(12)")

    with second_database(application_name="asleep") as second:
        with pytest.raises(OperationalError):
            on_live_connection(sleep)
        terminate_sessions_of("asleep")


def test_without_a_limit_nothing_is_watched(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_connection, "_deadlines", None)
    settings.SARTIQ_TASKS = settings.SARTIQ_TASKS | {"DATABASE_TIMEOUT": None}

    assert in_time(lambda: 7) == 7


@on_postgresql
@pytest.mark.usefixtures("any_database")
def test_a_connection_that_is_not_open_is_not_cut() -> None:
    with second_database() as second:
        cut(second)
        assert second.connection is None
        assert ask(second) == (1,)


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_nothing_is_tried_again_in_a_transaction_of_the_hosts() -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(InternalError, match="read-only"):
            on_live_connection(lambda: Task.objects.filter(pk=0).update(event_count=1))


@on_postgresql
def test_not_ready_while_the_server_is_read_only(postgresql: PostgreSQL, served: Server) -> None:
    with psycopg.connect(postgresql.url, autocommit=True) as other:
        assert not unavailable(served, task_id="demoted")
        other.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        other.execute("SELECT pg_reload_conf()")
        time.sleep(0.5)
        try:
            ready = served.get("/readyz")
            assert (ready.status_code, ready.json()["reason"]) == (503, "writing")
            assert unavailable(served, task_id="demoted")
        finally:
            other.execute("SET default_transaction_read_only = off")
            other.execute("ALTER SYSTEM RESET default_transaction_read_only")
            other.execute("SELECT pg_reload_conf()")
        time.sleep(0.5)
        assert served.get("/readyz").status_code == 200
        assert not unavailable(served, task_id="demoted")
