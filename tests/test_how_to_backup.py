"""docs/how-to-backup.md, command by command, while events arrive."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
from django.db import connection

from tests.factories import body
from tests.servers import Server, manage_each, private_postgresql, serving, temporary_directory

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "how-to-backup.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]

DUMP, RESTORE, BACKUP, *CHECKS = COMMANDS


def shell(command: str, cwd: Path, programs: Path, **environment: str) -> None:
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=cwd, env={**os.environ, **environment, "PATH": path}, check=False,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def checked(url: str) -> None:
    """Run the page's checks against a restored database."""
    assert len(CHECKS) == 2
    assert "0 differ" in manage_each(
        *(command.removeprefix("python manage.py ") for command in CHECKS), database_url=url
    )


class _Senders:
    """Posts events until the end of the block."""

    def __init__(self, server: Server) -> None:
        self.server, self.stopped, self.answers = server, threading.Event(), [0]
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.stopped.is_set():
            number = self.answers[0]
            answer = self.server.post(
                body(task_id=f"task-{number % 7}", progress=number % 100, number=number)
            )
            assert answer.status_code == 200
            self.answers[0] += 1

    def wait(self) -> None:
        """Wait until some events were answered."""
        while self.answers[0] < 20:
            assert self.thread.is_alive()
            time.sleep(0.01)

    def __enter__(self) -> _Senders:
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped.set()
        self.thread.join()


def stored_once(url: str, known: dict[str, object], token: str) -> None:
    """Serve the restored database: what it has is recognised, and something new is stored."""
    with serving(url, migrate=False, WORKERS="1") as restored:
        restored.token = token
        assert restored.post(known).json()["duplicate"] is True
        assert restored.post(body(task_id="after the restore")).json()["duplicate"] is False


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's own tools")
def test_a_dump_of_postgresql(tmp_path: Path) -> None:
    with temporary_directory() as place, private_postgresql(place) as database:
        programs = database.programs
        known = body(task_id="before the dump")
        with serving(database.url, WORKERS="1") as server:
            token = server.token
            assert server.post(known).status_code == 200
            with _Senders(server) as senders:
                senders.wait()
                shell(DUMP, tmp_path, programs, DATABASE_URL=database.url)
        restored = database.url.removesuffix("postgres") + "restored"
        shell(f"createdb --maintenance-db={database.url} restored", tmp_path, programs)
        shell(RESTORE, tmp_path, programs, RESTORED_URL=restored)

        checked(restored)
        stored_once(restored, known, token)


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's own tool")
@pytest.mark.skipif(not shutil.which("sqlite3"), reason="sqlite3 is not installed: apt-get install sqlite3")
def test_a_backup_of_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/db.sqlite3"
    known = body(task_id="before the backup")
    with serving(url, WORKERS="1") as server:
        token = server.token
        assert server.post(known).status_code == 200
        with _Senders(server) as senders:
            senders.wait()
            shell(BACKUP, tmp_path, tmp_path)

    restored = f"sqlite:///{tmp_path}/backup.sqlite3"
    checked(restored)
    stored_once(restored, known, token)
