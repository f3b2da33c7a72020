"""The health checks, without a login and without secrets. ``test_live_connection.py`` has them fail."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_well(path: str) -> None:
    answer = Client().get(path)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "no-store" in answer["Cache-Control"]


def test_health_asks_nothing_of_the_database() -> None:
    with CaptureQueriesContext(connection) as queries:
        Client().get("/healthz")

    assert len(queries) == 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_nothing_can_be_posted(path: str) -> None:
    assert Client().post(path).status_code == 405


@pytest.mark.parametrize(("failing", "reason"), [("SELECT", "database"), ("INSERT", "writing")])
def test_not_ready_while_the_database_fails(failing: str, reason: str) -> None:
    def fail(execute: Any, sql: str, *of: Any) -> Any:
        if sql.strip().startswith(failing):
            raise OperationalError(failing)
        return execute(sql, *of)

    with connection.execute_wrapper(fail):
        answer = Client().get("/readyz")

    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "reason": reason})


def test_not_ready_before_the_last_migration() -> None:
    MigrationRecorder.Migration.objects.filter(app="sartiq_tasks", name__startswith="0002").delete()

    answer = Client().get("/readyz")

    assert (answer.status_code, answer.json()["reason"]) == (503, "migrations")


class LedgerApart:
    """The database of the ledger has no tables of django.contrib.admin."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "admin" else None


def test_a_migration_that_the_routers_keep_from_the_ledgers_database_is_not_pending(settings: Any) -> None:
    """``migrate sartiq_tasks --database events`` records the app's own and those that they depend on."""
    MigrationRecorder(connection).migration_qs.filter(app="admin").delete()
    assert Client().get("/readyz").status_code == 503

    settings.DATABASE_ROUTERS = [LedgerApart()]
    assert Client().get("/readyz").json() == {"status": "ok"}
