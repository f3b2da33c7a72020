"""Run Python programs as copies of a process: ``fork_server.py`` says why."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

SERVER = str(Path(__file__).with_name("fork_server.py"))
_lock = threading.Lock()


class Forked(psutil.Process):
    """A copy of a fork server's process, which alone can wait for it."""

    def __init__(self, server: subprocess.Popen[bytes], pid: int | None) -> None:
        super().__init__(pid)
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        """Do as ``subprocess.Popen.poll()``."""
        return self._look(wait=False)

    def wait(self, timeout: float | None = None) -> int | None:
        """Do as ``psutil.Popen.wait()``."""
        if timeout is None:
            return self._look(wait=True)
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise psutil.TimeoutExpired(timeout, self.pid)
            time.sleep(0.02)
        return self.returncode

    def _look(self, *, wait: bool) -> int | None:
        if self.returncode is None:
            self.returncode = _ask(self._server, look=self.pid, wait=wait)
        return self.returncode


def start_forked(
    python: str,
    *arguments: str,
    cwd: Path,
    env: dict[str, str],
    stdout: Path | str = os.devnull,
    stderr: Path | str = os.devnull,
    timeout: int = 0,
) -> Forked:
    """Start ``python *arguments``, which writes to the files ``stdout`` and ``stderr``."""
    server = _server(python, env)
    asked = {"arguments": arguments, "cwd": str(cwd), "environment": env, "timeout": timeout}
    return Forked(server, _ask(server, **asked, streams=[str(stdout), str(stderr)]))


def run_forked(
    python: str,
    *arguments: str,
    cwd: Path,
    env: dict[str, str],
    timeout: int = 600,
    is_counted: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Do as ``subprocess.run()`` with the output captured; coverage counts what it runs if ``is_counted``."""
    with TemporaryDirectory() as directory:
        stdout, stderr = (Path(directory) / name for name in ("stdout", "stderr"))
        started = start_forked(
            python,
            *arguments,
            cwd=cwd,
            env=env if is_counted else uncounted(env),
            stdout=stdout,
            stderr=stderr,
            timeout=timeout,
        )
        status: Any = started.wait()
        return subprocess.CompletedProcess(arguments, status, stdout.read_text(), stderr.read_text())


def uncounted(env: dict[str, str]) -> dict[str, str]:
    """Return the variables without those that have coverage count what a process runs."""
    return {name: value for name, value in env.items() if not name.startswith("COVERAGE_")}


#: By the Python that runs it. There is one at most: the tests of a module mostly share an environment.
_servers: dict[str, subprocess.Popen[bytes]] = {}


def _server(python: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
    if python not in _servers:
        stop_servers()
        pipe = subprocess.PIPE
        _servers[python] = subprocess.Popen([python, SERVER], stdin=pipe, stdout=pipe, env=uncounted(env))
    return _servers[python]


def _ask(server: subprocess.Popen[bytes], **asked: Any) -> int | None:
    assert server.stdin is not None
    assert server.stdout is not None
    with _lock:
        server.stdin.write(json.dumps(asked).encode() + b"\n")
        server.stdin.flush()
        answer: int | None = json.loads(server.stdout.readline())
        return answer


@atexit.register
def stop_servers() -> None:
    """End them, by ending their input."""
    while _servers:
        _, server = _servers.popitem()
        server.communicate()
