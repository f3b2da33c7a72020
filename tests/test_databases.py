"""The project on more than one plain database: behind pgbouncer, and with a replica."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import requests
from django.db import connection

from tests.factories import body
from tests.programs import needed
from tests.servers import (
    PostgreSQL,
    free_port,
    manage,
    private_postgresql,
    serving,
    stop,
    temporary_directory,
    wait_for_port,
)

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL alone")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    with temporary_directory() as place, private_postgresql(place) as server:
        yield server


@contextmanager
def pgbouncer(postgresql: PostgreSQL) -> Iterator[str]:
    """Run pgbouncer in transaction mode, with fewer connections than there are threads; give its URL."""
    program = needed("pgbouncer", package="pgbouncer")
    port = free_port()
    with temporary_directory() as place:
        (place / "users").write_text('"postgres" ""\n')
        (place / "pgbouncer.ini").write_text(
            f"""
            [databases]
            postgres = host=127.0.0.1 port={postgresql.port} dbname=postgres user=postgres
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = trust
            auth_file = {place}/users
            pool_mode = transaction
            default_pool_size = 3
            """.replace("    ", "")
        )
        place.chmod(0o755)
        user = None if psutil.Process().uids().effective else "nobody"
        process = psutil.Popen(
            [program, str(place / "pgbouncer.ini")], user=user, stderr=subprocess.DEVNULL, cwd="/"
        )
        try:
            wait_for_port(port, process)
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            stop(process)


def test_behind_pgbouncer_in_transaction_mode(postgresql: PostgreSQL) -> None:
    with pgbouncer(postgresql) as url, serving(url, migrate=False, PGBOUNCER="on") as server:

        def post(number: int) -> int:
            return server.post(body(task_id=f"task-{number % 10}", progress=number % 100)).status_code

        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(post, range(300)))

        assert set(statuses) == {200}
        with psycopg.connect(postgresql.url) as database:
            stored = database.execute("SELECT sum(deliveries) FROM sartiq_tasks_taskstatusevent").fetchone()
        assert stored == (300,)


def log_in(url: str) -> requests.Session:
    staff = requests.Session()
    staff.get(f"{url}/admin/login/", timeout=30)
    token = staff.cookies["csrftoken"]
    form = {"username": "ada", "password": "pass", "csrfmiddlewaretoken": token, "next": "/healthz"}
    assert staff.post(f"{url}/admin/login/", form, timeout=30).status_code == 200
    return staff


def test_the_admin_reads_from_the_replica(postgresql: PostgreSQL, tmp_path: Path) -> None:
    """The replica is another database here, with other rows, so that the answer shows which one was read."""
    urls = {}
    with psycopg.connect(postgresql.url, autocommit=True) as server:
        for name in ("main", "replica"):
            server.execute(f"CREATE DATABASE {name} TEMPLATE postgres")  # migrated
            urls[name] = postgresql.url.removesuffix("postgres") + name
    with serving(urls["replica"], WORKERS="1") as replica:
        assert replica.post(body(task_id="on-the-replica")).status_code == 200
    create = (
        "from django.contrib.auth.models import User; User.objects.create_superuser('ada', password='pass')"
    )
    static = {"STATIC_ROOT": str(tmp_path)}
    manage("collectstatic", "--no-input", database_url=urls["main"], **static)
    with serving(urls["main"], REPLICA_URL=urls["replica"], WORKERS="1", **static) as server:
        manage("shell", "-c", create, database_url=urls["main"])
        assert server.post(body(task_id="on-the-primary")).json()["duplicate"] is False
        assert server.post(body(task_id="on-the-primary")).json()["duplicate"] is True
        assert server.post(body(task_id="on-the-replica")).json()["duplicate"] is False
        page = log_in(server.url).get(f"{server.url}/admin/sartiq_tasks/task/", timeout=30).text

    assert "on-the-replica" in page
    assert "on-the-primary" not in page
