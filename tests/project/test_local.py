"""What ``make run`` keeps, and ``make demo`` finds after a change of ``DATABASE_URL`` or ``PORT``."""

from __future__ import annotations

from pathlib import Path

import pytest

from sartiq_tasks import local
from sartiq_tasks.local import Kept


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "FILE", tmp_path / "local" / "run.json")
    for name in ("DATABASE_URL", "PORT", "SECRET_KEY"):
        monkeypatch.setenv(name, "restored after the test")
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("environment", "client"),
    [
        ({}, "second"),
        ({"PORT": "8001"}, "first"),
        ({"DATABASE_URL": "sqlite:///first"}, "first"),
        ({"DATABASE_URL": "sqlite:///second", "PORT": "8001"}, "second"),
        ({"DATABASE_URL": "sqlite:///third"}, None),
    ],
)
def test_the_client_is_the_one_of_the_servers_database(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], client: str | None
) -> None:
    kept = Kept()
    for name in ("first", "second"):
        kept.of_database(f"sqlite:///{name}")["client_id"] = name
    kept.servers = {"8000": "sqlite:///second", "8001": "sqlite:///first"}
    kept.write()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    again = Kept()

    assert again.of_database(again.use()).get("client_id") == client


def test_only_its_owner_can_read_it() -> None:
    Kept().write()

    assert local.FILE.stat().st_mode & 0o777 == 0o600
