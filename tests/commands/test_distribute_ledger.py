"""``manage.py distribute_ledger``, as far as it goes without Citus; the rest is in ``tests/citus``."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from tasks.database import distribution
from tasks.database.distribution import Step
from tests.databases import is_citus

pytestmark = [pytest.mark.django_db, pytest.mark.skipif(is_citus(), reason="about databases without Citus")]
STEPS = [
    Step(("A table is made.",), ("CREATE TABLE made (number int)", "INSERT INTO made VALUES (1)")),
    Step(("A row is added.", "And no more."), ("INSERT INTO made VALUES (2)",)),
]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Citus as far as the command asks for it."""
    monkeypatch.setattr(distribution, "fault", lambda connection: None)
    monkeypatch.setattr(distribution, "placed", lambda connection: {})
    monkeypatch.setattr(distribution, "unique_indexes", lambda connection: [])
    monkeypatch.setattr(distribution, "foreign_keys", lambda connection: [])
    monkeypatch.setattr(distribution, "steps", lambda found, indexes, shards: STEPS)


def made() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM made ORDER BY number")
        return [number for (number,) in cursor.fetchall()]


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
def test_without_citus_it_says_what_to_do(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="CREATE EXTENSION citus"):
        call_command("distribute_ledger", *arguments)


@pytest.mark.usefixtures("cluster")
def test_each_step_is_told_and_done(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("distribute_ledger")

    out = capsys.readouterr().out
    assert made() == [1, 2]
    assert "A row is added.\nAnd no more.\n    INSERT INTO made VALUES (2);\n" in out
    assert "2 steps were done." in out
    assert "SARTIQ_TASKS['DISTRIBUTED'] = True" in out


@pytest.mark.usefixtures("cluster")
def test_a_dry_run_only_tells(capsys: pytest.CaptureFixture[str], settings: Any) -> None:
    settings.SARTIQ_TASKS = {"DISTRIBUTED": True}
    call_command("distribute_ledger", "--dry-run")

    out = capsys.readouterr().out
    assert "made" not in connection.introspection.table_names()
    assert "CREATE TABLE made" in out
    assert "2 steps would be done." in out
    assert "DISTRIBUTED" not in out


@pytest.mark.usefixtures("cluster")
def test_a_foreign_key_is_named_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "foreign_keys", lambda connection: [("note", "note_about")])

    with pytest.raises(CommandError, match="drop note_about of note"):
        call_command("distribute_ledger")
    assert "made" not in connection.introspection.table_names()


@pytest.mark.usefixtures("cluster")
def test_migrations_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        distribution, "places", lambda: {"auth_user": "reference", "sartiq_tasks_new": "local"}
    )

    with pytest.raises(CommandError, match=r"migrate first: these tables are missing: sartiq_tasks_new\."):
        call_command("distribute_ledger")
