"""The options that each kind of database needs."""

from __future__ import annotations

import warnings
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()


#: The databases that the app's statements are written for.
BACKENDS = {"django.db.backends.postgresql", "django.db.backends.sqlite3"}


def database(variable: str, default: str | environ.NoValue = environ.Env.NOTSET) -> dict[str, Any]:
    """Return the settings of the database URL in ``variable``, with the options that its kind needs.

    What the URL says goes before what is said here.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # which would show a password
            settings: dict[str, Any] = env.db_url(variable, default=default)
    except (ValueError, TypeError, AttributeError, ImproperlyConfigured):
        settings = {}
    if settings.get("ENGINE") not in BACKENDS or not settings.get("NAME"):
        # Without the value, which may hold a password.
        raise ImproperlyConfigured(
            f"{variable} is not the URL of a database: write postgres://user:password@host:5432/name, "
            "or sqlite:////path/to/file."
        )
    # A connection lives as long as its thread. SQLite's costs as much to open and to close as an event: the
    # last to close moves the log into the file, with two more flushes.
    settings.setdefault("CONN_MAX_AGE", env.int("CONN_MAX_AGE", default=None))
    complete = _sqlite if settings["ENGINE"].endswith("sqlite3") else _postgresql
    return complete(settings, settings.setdefault("OPTIONS", {}))


def _sqlite(settings: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    # WAL lets readers read while an event is written; FULL makes an answered event survive a power cut;
    # IMMEDIATE takes the write lock at once, for which `timeout` (seconds) then waits.
    options.setdefault("transaction_mode", "IMMEDIATE")
    options.setdefault("timeout", 20)
    options.setdefault("init_command", "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
    return settings


def _postgresql(settings: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    settings.setdefault("CONN_HEALTH_CHECKS", True)
    options.setdefault("connect_timeout", 5)
    options.setdefault("server_side_binding", True)
    if env.bool("PGBOUNCER", default=False):
        # In transaction mode nothing may outlive a transaction: no prepared statement and no cursor on the
        # server. pgbouncer takes no options either, so the timeouts are set on the role.
        settings["DISABLE_SERVER_SIDE_CURSORS"] = True
        options.setdefault("prepare_threshold", None)
        return settings
    # Django turns prepared statements off; with server-side binding psycopg prepares from the second use.
    options.setdefault("prepare_threshold", env.int("PREPARE_THRESHOLD", default=2) or None)
    # Milliseconds. SARTIQ_TASKS["DATABASE_TIMEOUT"] bounds a server that does not answer at all. manage.py
    # sets no limit, because a migration may take long.
    timeouts = {
        "statement_timeout": env.int("DB_STATEMENT_TIMEOUT_MS", default=15_000),
        "lock_timeout": env.int("DB_LOCK_TIMEOUT_MS", default=5_000),
    }
    options.setdefault("options", " ".join(f"-c {name}={value}" for name, value in timeouts.items()))
    return settings
