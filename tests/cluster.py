"""The tests' database on a Citus cluster, whose coordinator ``TEST_CITUS_URL`` names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.core.management import call_command

from tests.databases import is_citus


def not_on_citus(reason: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test on Citus, because it is about one node; ``reason`` says how."""
    return pytest.mark.skipif(is_citus(), reason=f"not on Citus: {reason}")


def distribute(connection: Any) -> None:
    """Create on the workers the database that Django has just created, and spread its tables."""
    name = connection.settings_dict["NAME"]
    for worker in workers(connection):
        with _session(connection, "postgres", *worker) as server:
            server.execute(f'CREATE DATABASE "{name}"')
        with _session(connection, name, *worker) as server:
            server.execute("CREATE EXTENSION citus")
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION citus")
        given = connection.get_connection_params()
        cursor.execute("SELECT citus_set_coordinator_host(%s, %s)", [given["host"], int(given["port"])])
        for host, port in workers(connection):
            cursor.execute("SELECT citus_add_node(%s, %s)", [host, port])
    call_command("distribute_ledger", shards=4, verbosity=0)


def release(connection: Any) -> None:
    """Drop the tests' database at the workers, and let Django drop it at the coordinator."""
    name = connection.creation._get_test_db_name()
    nodes = workers(connection)
    connection.close()
    with _session(connection, "postgres") as server:
        if server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            server.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name]
            )
    for worker in nodes:
        with _session(connection, "postgres", *worker) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def workers(connection: Any) -> list[tuple[str, int]]:
    """Return the host and port of each worker."""
    with _session(connection, "postgres") as server:
        return server.execute(
            "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 ORDER BY groupid"
        ).fetchall()


def keep_distributed(*, setting: str, value: Any, **said: Any) -> None:
    """Leave ``DISTRIBUTED`` on in the settings of a test's own, unless they say otherwise."""
    if setting == "SARTIQ_TASKS" and isinstance(value, dict):
        value.setdefault("DISTRIBUTED", True)


def _session(connection: Any, name: str, host: str | None = None, port: int | None = None) -> Any:
    given = connection.get_connection_params()
    kept = {key: given[key] for key in ("user", "password", "host", "port") if key in given}
    where = {"host": host, "port": port} if host else {}
    return psycopg.connect(**{**kept, **where, "dbname": name}, autocommit=True)


@contextmanager
def commands(connection: Any) -> Iterator[list[tuple[str, int]]]:
    """Collect the commands that the coordinator sends to its workers: the first word, and the node's port."""
    sent: list[tuple[str, int]] = []
    told: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute("SET citus.log_remote_commands = on; SET client_min_messages = notice")
    session = connection.connection

    def listen(notice: Any) -> None:
        told.append(f"{notice.message_primary}\n{notice.message_detail}")

    session.add_notice_handler(listen)
    try:
        yield sent
    finally:
        session.remove_notice_handler(listen)
        with connection.cursor() as cursor:
            cursor.execute("RESET citus.log_remote_commands; RESET client_min_messages")
        for one in told:
            command = re.match(r"issuing (\w+).*\bon server \S+@\S+:(\d+)", one, re.DOTALL)
            if command and "citus.log_remote_commands" not in one:
                sent.append((command[1], int(command[2])))
