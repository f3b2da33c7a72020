"""SQLite's file is replaced or removed under a session: no event that was answered 200 is lost."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from tasks.database.live_connection import on_live_connection
from tasks.database.sqlite_file import leave_replaced_files
from tests.factories import body
from tests.servers import Server, serving, temporary_directory

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite alone")
FILES = ("db.sqlite3", "db.sqlite3-wal", "db.sqlite3-shm")


def backup(place: Path, name: str) -> Path:
    """Make a backup as docs/how-to-backup.md does."""
    file, copy = place / "db.sqlite3", place / name
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as to:
        source.backup(to)
    return copy


def move(place: Path, to: Path) -> None:
    to.mkdir(exist_ok=True)
    for name in FILES:
        if (place / name).exists():
            (place / name).rename(to / name)


def stored(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as database:
        return {name for (name,) in database.execute("SELECT task_id FROM sartiq_tasks_taskstatusevent")}


def post(server: Server, *names: str) -> list[int]:
    answers = [server.post(body(task_id=name)) for name in names]
    assert all(answer.status_code != 503 or int(answer.headers["Retry-After"]) > 0 for answer in answers)
    return [answer.status_code for answer in answers]


def ready(server: Server) -> tuple[int, str | None]:
    answer = server.get("/readyz")
    return answer.status_code, answer.json().get("reason")


def test_replaced_by_a_backup(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path}/db.sqlite3") as server:
        assert post(server, "in the backup") == [200]
        restored = backup(tmp_path, "backup.sqlite3")
        assert post(server, "lost with the file") == [200]
        move(tmp_path, tmp_path / "old")
        restored.rename(tmp_path / "db.sqlite3")

        names = [f"after {number}" for number in range(8)]  # to each thread of each worker
        assert set(post(server, *names)) == {200}
        assert ready(server) == (200, None)

    assert stored(tmp_path / "db.sqlite3") == {"in the backup", *names}


def test_away_and_back_again(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path}/db.sqlite3") as server:
        assert post(server, "before") == [200]
        move(tmp_path, tmp_path / "old")
        assert post(server, "a", "b", "c") == [503] * 3
        assert ready(server) == (503, "database")
        assert not (tmp_path / "db.sqlite3").exists(), "no empty one is made in its place"
        (tmp_path / "old" / FILES[0]).touch()
        shutil.copytree(tmp_path / "old", tmp_path, dirs_exist_ok=True)

        assert set(post(server, "a", "b", "c")) == {200}
        assert ready(server) == (200, None)

    assert stored(tmp_path / "db.sqlite3") == {"before", "a", "b", "c"}


def test_replaced_by_an_empty_one(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path}/db.sqlite3") as server:
        assert post(server, "before") == [200]
        move(tmp_path, tmp_path / "old")
        (tmp_path / "db.sqlite3").touch()
        assert post(server, "a", "b") == [503, 503]
        assert ready(server) == (503, "migrations")


@contextmanager
def read_only(place: Path, other: Path) -> Iterator[None]:
    """Mount the directory read-only, with a copy of the file in it."""
    backup(place, "copy").rename(other / "db.sqlite3")
    mount = ["mount", "--bind", "-o", "ro", str(other), str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here: that takes root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_read_only_for_a_while() -> None:
    with temporary_directory() as place, temporary_directory() as other:
        with serving(f"sqlite:///{place}/db.sqlite3") as server:
            assert post(server, "before") == [200]
            with read_only(place, other):
                assert post(server, "a", "b") == [503, 503]
                status, reason = ready(server)
                assert (status, reason in {"database", "writing"}) == (503, True)
            assert set(post(server, "a", "b", "c")) == {200}
            assert ready(server) == (200, None)
        assert stored(place / "db.sqlite3") == {"before", "a", "b", "c"}


@pytest.fixture
def second(tmp_path: Path, django_db_setup: None, django_db_blocker: Any) -> Iterator[Any]:
    """Another alias, whose file is in a directory of the test."""
    name = f"file:{tmp_path}/the%20second?mode=rwc"
    connections.databases["second"] = connection.settings_dict | {"NAME": name, "OPTIONS": {"uri": True}}
    try:
        with django_db_blocker.unblock():
            yield connections["second"]
    finally:
        connections["second"].close()
        del connections["second"], connections.databases["second"]


def ask(one: Any) -> Callable[[], Any]:
    def operation() -> Any:
        with one.cursor() as cursor:
            cursor.execute("PRAGMA user_version")
            return cursor.fetchone()

    return operation


def replace(file: Path, version: int) -> None:
    with closing(sqlite3.connect(file.with_name("new"))) as new:
        new.execute(f"PRAGMA user_version = {version}")
    file.with_name("new").replace(file)


def test_the_file_of_another_database(second: Any, tmp_path: Path) -> None:
    """The other file, such as that of the tokens, is left too, but only the ledger's must exist."""
    file = tmp_path / "the second"
    assert on_live_connection(ask(second)) == (0,)
    for version in (1, 2):
        replace(file, version)
        assert on_live_connection(ask(second)) == (version,)
    file.unlink()
    assert on_live_connection(ask(second)) == (2,)


def test_a_file_that_is_replaced_in_the_middle(second: Any, tmp_path: Path) -> None:
    asked = []

    def operation() -> Any:
        asked.append(ask(second)())
        if len(asked) == 1:
            replace(tmp_path / "the second", 1)
        return asked[-1]

    assert on_live_connection(operation) == (1,)
    assert asked == [(0,), (1,)]


def test_in_a_transaction_of_the_hosts(second: Any, tmp_path: Path) -> None:
    ask(second)()
    with transaction.atomic(using="second"):
        replace(tmp_path / "the second", 1)
        with pytest.raises(OperationalError, match="Another file has taken the place"):
            on_live_connection(ask(second))


@pytest.mark.parametrize("is_open", [True, False])
def test_the_ledgers_file_must_be_there(second: Any, tmp_path: Path, is_open: bool) -> None:
    if is_open:
        ask(second)()
        (tmp_path / "the second").unlink()
    with pytest.raises(OperationalError, match="There is no file"):
        leave_replaced_files(second)
    assert not (tmp_path / "the second").exists()


def test_a_database_in_memory_has_no_file(second: Any) -> None:
    second.settings_dict["NAME"] = "file:in-memory?mode=memory&cache=shared"
    with closing(second.cursor().connection):  # Django leaves it open, for what is in it
        assert ask(second)() == (0,)
        assert leave_replaced_files(second) is False
