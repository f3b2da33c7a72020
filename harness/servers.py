"""Real servers: the project as it is deployed, on a port of its own."""

from __future__ import annotations

import json
import os
import shutil
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
import requests

from .environment import ROOT, free_port, project_environment


@dataclass
class Server:
    """The project under ``sartiq_tasks.server``, with the token of a client."""

    url: str
    token: str
    process: psutil.Popen

    def post(self, body: Any, **kwargs: Any) -> requests.Response:
        """Post ``body`` as JSON to the webhook."""
        headers = {"Authorization": f"Bearer {self.token}", "Connection": "close"}
        kwargs.setdefault("timeout", 60)
        return requests.post(f"{self.url}/api/v1/tasks/webhook", json=body, headers=headers, **kwargs)

    def get(self, path: str) -> requests.Response:
        """Get ``path`` without credentials."""
        return requests.get(f"{self.url}{path}", timeout=60)

    def get_token(self, form: dict[str, str]) -> requests.Response:
        """Post ``form`` to the token endpoint."""
        return requests.post(f"{self.url}/api/v1/login/access-token", data=form, timeout=60)

    def workers(self) -> list[psutil.Process]:
        """Return the processes that take requests, except those whose main process ends meanwhile."""
        found = []
        for main in self.process.children():
            with suppress(psutil.NoSuchProcess):
                found += main.children()
        return found


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
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def serving(
    database_url: str,
    *arguments: str,
    migrate: bool = True,
    token: str | None = None,
    log: Path | None = None,
    **changes: str,
) -> Iterator[Server]:
    """Serve the project on ``database_url`` until the end of the block, migrated and with a client.

    ``token`` is the token of a client that exists already. ``arguments`` go to the server, ``changes`` to the
    environment, and ``log`` gets what the server prints.
    """
    commands = ["migrate --verbosity 0"] if migrate else []
    if token is None:
        commands.append(f"create_compute_client cluster-{time.monotonic_ns()} --json")
    printed = manage_each(*commands, database_url=database_url, **changes) if commands else ""
    token = token or json.loads(printed)["access_token"]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = project_environment(database_url, PORT=str(port), **changes)
    command = (sys.executable, "-m", "sartiq_tasks.server", *arguments)
    with serving_command(*command, cwd=ROOT, env=environment, url=f"{url}/healthz", log=log) as process:
        yield Server(url, token, process)


@contextmanager
def serving_command(
    *command: str, cwd: Path, env: dict[str, str], url: str, log: Path | None = None
) -> Iterator[psutil.Popen]:
    """Run a server that answers ``url`` until the end of the block; ``log`` gets what it prints."""
    with (log or Path(os.devnull)).open("wb") as output:
        process = psutil.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output)
    with until_the_end(process, url):
        yield process


@contextmanager
def until_the_end(process: psutil.Popen, url: str) -> Iterator[psutil.Popen]:
    """Wait until ``process`` answers ``url``, and stop it at the end of the block."""
    try:
        wait_for(url, process)
        yield process
    finally:
        stop(process)


def wait_for(url: str, process: psutil.Popen) -> None:
    """Wait until ``url`` answers; fail if the process ends first or takes too long."""
    for _ in range(900):
        with suppress(requests.RequestException):
            requests.get(url, timeout=1)
            return
        assert process.poll() is None, "the server ended"
        time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def wait_for_port(port: int, process: psutil.Popen) -> None:
    """Wait until somebody listens on ``port``; fail if the process ends first or takes too long."""
    for _ in range(900):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, "the server ended"
        time.sleep(0.1)
    raise AssertionError(f"nobody listens on port {port}")


def stop(process: psutil.Popen) -> None:
    """End a server and its workers: by SIGTERM, and by SIGKILL after three seconds."""
    family = [process]
    with suppress(psutil.NoSuchProcess):  # it may end by itself at any moment
        family += process.children(recursive=True)
        process.terminate()
    _, alive = psutil.wait_procs(family, timeout=3)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait(10)


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Make a directory that PostgreSQL's user can enter, unlike pytest's own, until the end of the block."""
    place = Path(tempfile.mkdtemp(prefix="sartiq-tasks-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
