"""The options that the project gives each kind of database."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

import sartiq_tasks.settings
from sartiq_tasks.databases import database

VARIABLES = (
    "CONN_MAX_AGE",
    "DB_LOCK_TIMEOUT_MS",
    "DB_STATEMENT_TIMEOUT_MS",
    "PGBOUNCER",
    "PREPARE_THRESHOLD",
)
POSTGRESQL = "postgresql://ada@db.example.org/events"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def options_of(url: str) -> dict[str, Any]:
    options: dict[str, Any] = database("NO_SUCH_VARIABLE", default=url)["OPTIONS"]
    return options


def test_sqlite_takes_the_write_lock_at_once_and_survives_a_power_cut() -> None:
    options = options_of("sqlite:////var/db.sqlite3")

    assert options["transaction_mode"] == "IMMEDIATE"
    assert options["init_command"] == "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"


def test_postgresql_prepares_and_bounds_each_statement() -> None:
    options = options_of(POSTGRESQL)

    assert (options["server_side_binding"], options["prepare_threshold"]) == (True, 2)
    assert options["options"] == "-c statement_timeout=15000 -c lock_timeout=5000"


def test_the_environment_changes_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_STATEMENT_TIMEOUT_MS", "900")
    monkeypatch.setenv("DB_LOCK_TIMEOUT_MS", "800")
    monkeypatch.setenv("PREPARE_THRESHOLD", "0")
    options = options_of(POSTGRESQL)

    assert options["options"] == "-c statement_timeout=900 -c lock_timeout=800"
    assert options["prepare_threshold"] is None


def test_behind_pgbouncer_nothing_outlives_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGBOUNCER", "on")
    settings = database("NO_SUCH_VARIABLE", default=POSTGRESQL)

    assert settings["DISABLE_SERVER_SIDE_CURSORS"] is True
    assert settings["OPTIONS"]["prepare_threshold"] is None
    assert "options" not in settings["OPTIONS"]


def test_what_the_url_says_goes_before() -> None:
    assert int(options_of(POSTGRESQL)["connect_timeout"]) == 5
    assert int(options_of(f"{POSTGRESQL}?connect_timeout=1")["connect_timeout"]) == 1


def test_a_replica_is_read_through_the_router(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICA_URL", "postgresql://ada@replica.example.org/events")
    # Read once more, under another name: those of this test run stay as they are.
    spec = importlib.util.spec_from_file_location(
        "sartiq_tasks.settings_again", sartiq_tasks.settings.__file__
    )
    assert spec is not None
    assert spec.loader is not None
    settings: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(settings)

    assert settings.DATABASES["replica"]["HOST"] == "replica.example.org"
    assert settings.DATABASE_ROUTERS == ["sartiq_tasks.routers.ReadFromReplica"]


@pytest.mark.parametrize(
    "url", ["secret", "postgres://", "mysql://secret@host/name", "postgres://ada:secret@host:port/name"]
)
def test_a_value_that_is_not_a_database_url_is_not_shown(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^NO_SUCH_VARIABLE is not the URL of a database") as told:
        database("NO_SUCH_VARIABLE", default=url)

    assert "secret" not in str(told.value)
