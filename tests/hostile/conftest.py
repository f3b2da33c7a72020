"""One real server for each process of the tests, met bare and through nginx."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.factories import body
from tests.hostile.wire import Answer, Request, exchange
from tests.programs import needed
from tests.servers import (
    ROOT,
    Server,
    copy_migrated_sqlite,
    free_port,
    manage_each,
    private_postgresql,
    serving,
    stop,
    temporary_directory,
    wait_for_port,
)

NGINX_CONF = """
daemon off; worker_processes 1; pid {here}/nginx.pid; error_log {here}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
    upstream sartiq_tasks {{ server 127.0.0.1:{app}; keepalive 32; }}
    server {{ listen 127.0.0.1:{port}; include {snippet}; }}
}}
"""
_numbers = itertools.count(1)
ADMIN = {"username": "hostile-admin", "password": "an admin of the hostile tests"}


@dataclass(frozen=True)
class Site:
    """The project as one meets it at ``port``, with what its ledger says behind its back."""

    front: str
    port: int
    token: str
    query: Callable[[str], Any]

    def send(self, request: Request) -> Answer:
        """Return the answer to ``request``, sent on a connection of its own."""
        method = request.method.decode("latin-1")
        return exchange(self.port, request.raw(self.token), half_close=request.half_close, method=method)

    def event_count(self) -> int:
        """Return the number of rows in the ledger."""
        return int(self.query("SELECT count(*) FROM sartiq_tasks_taskstatusevent"))

    def assert_well(self, *, events: int) -> None:
        """Assert that the ledger has ``events`` rows and that the site takes another."""
        assert self.event_count() == events
        good = json.dumps(body(task_id=f"well-{os.getpid()}-{next(_numbers)}")).encode()
        answer = self.send(Request(good))
        assert (answer.status, answer.json()["duplicate"]) == (200, False)
        assert self.event_count() == events + 1


@dataclass(frozen=True)
class App:
    """The server, and what asks its database."""

    server: Server
    query: Callable[[str], Any]


def _sqlite_query(path: Path) -> Callable[[str], Any]:
    def query(sql: str) -> Any:
        connection = sqlite3.connect(path, timeout=20)
        try:
            return connection.execute(sql).fetchone()[0]
        finally:
            connection.close()

    return query


def _postgresql_query(url: str) -> Callable[[str], Any]:
    def query(sql: str) -> Any:
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute(sql.encode()).fetchone()
            assert row is not None
            return row[0]

    return query


@pytest.fixture(scope="session")
def app() -> Iterator[App]:
    """The running server."""
    with temporary_directory() as here:
        log = here / "server.log"
        # The admin's pages are asked for; their files are not.
        changes = {
            "STATIC_ROOT": str(here / "static"),
            # Hundreds of bad tokens of one address are what these tests are made of.
            "THROTTLE_FAILURES": "",
            "THROTTLE_TOKEN_REQUESTS": "",
        }
        if os.environ.get("TEST_DB", "sqlite") == "postgresql":
            with private_postgresql(here) as database, _served(database.url, log, changes) as server:
                yield App(server, _postgresql_query(database.url))
        else:
            with _served(f"sqlite:///{here}/db.sqlite3", log, changes) as server:
                yield App(server, _sqlite_query(here / "db.sqlite3"))


def _served(url: str, log: Path, changes: dict[str, str]) -> Any:
    given = {f"DJANGO_SUPERUSER_{name.upper()}": value for name, value in ADMIN.items()}
    copy_migrated_sqlite(url)
    manage_each(
        "collectstatic --no-input --verbosity 0",
        "createsuperuser --no-input --email a@example.org",
        database_url=url,
        **(given | changes),
    )
    return serving(url, log=log, **changes)


@pytest.fixture(scope="session")
def nginx_port(app: App) -> Iterator[int]:
    """The port of nginx in front of the server, with the configuration that is deployed."""
    program = needed("nginx", package="nginx-light")
    port = free_port()
    with temporary_directory() as here:
        app_port = app.server.url.rpartition(":")[2]
        snippet = ROOT / "deploy" / "nginx" / "webhook.conf"
        configuration = here / "nginx.conf"
        configuration.write_text(NGINX_CONF.format(here=here, app=app_port, port=port, snippet=snippet))
        process = psutil.Popen([program, "-e", str(here / "error.log"), "-c", str(configuration)])
        try:
            wait_for_port(port, process)
            yield port
        finally:
            stop(process)


@pytest.fixture
def bare(app: App) -> Site:
    """The project with nothing in front of it."""
    return Site("bare", int(app.server.url.rpartition(":")[2]), app.server.token, app.query)


@pytest.fixture
def proxied(app: App, nginx_port: int) -> Site:
    """The project behind nginx."""
    return Site("nginx", nginx_port, app.server.token, app.query)


@pytest.fixture(params=["bare", "proxied"])
def site(request: pytest.FixtureRequest) -> Site:
    """The project in either way."""
    found: Site = request.getfixturevalue(request.param)
    return found
