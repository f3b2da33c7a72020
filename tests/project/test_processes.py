"""What runs in the processes of the server, in this process."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from sartiq_tasks import processes, wsgi


@pytest.fixture
def lifeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The supervisor's end, of which the worker finds its own in the environment."""
    ours, theirs = socket.socketpair()
    # The worker owns its descriptor, and closes it when it ends.
    monkeypatch.setenv(processes.LIFELINE, str(os.dup(theirs.fileno())))
    with ours, theirs:
        yield ours


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The processes that would be sent a signal."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda *of: sent.append(of))
    return sent


def threads_run_at_once(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Have no thread wait for the supervisor's end; return what it would wait at."""
    waited: list[socket.socket] = []
    monkeypatch.setattr(processes, "_end_with_supervisor", waited.append)
    return waited


def test_a_worker_says_when_it_heeds_signals(
    monkeypatch: pytest.MonkeyPatch, lifeline: socket.socket
) -> None:
    """Not before Granian, which loses those that come while it starts, has set its own handlers."""
    waited = threads_run_at_once(monkeypatch)
    monkeypatch.setattr(processes, "BEGINS", 0)

    assert processes.application() is wsgi.application
    assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    lifeline.settimeout(0.2)
    with pytest.raises(TimeoutError):
        lifeline.recv(1)
    signal.signal(signal.SIGTERM, lambda *_: None)
    lifeline.settimeout(10)
    assert lifeline.recv(2) == b"!"
    for one in waited:
        one.close()


def test_a_worker_without_a_supervisor_serves_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(processes.LIFELINE, raising=False)

    assert processes.application() is wsgi.application


def test_granian_forks_its_worker_whatever_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is spawned inherits nothing, and could not know of its supervisor."""
    asked: list[str] = []
    monkeypatch.setattr("multiprocessing.set_start_method", asked.append)
    monkeypatch.setattr("granian.cli.entrypoint", lambda: asked.append("serve"))

    processes.run_granian()

    assert asked == ["fork", "serve"]


def test_the_handlers_process_runs_the_command(
    monkeypatch: pytest.MonkeyPatch, lifeline: socket.socket
) -> None:
    waited = threads_run_at_once(monkeypatch)
    run: list[Any] = []
    monkeypatch.setattr("django.core.management.execute_from_command_line", run.append)

    processes.run_handlers()

    assert run == [["manage.py", "run_handlers"]]
    assert lifeline.recv(2) == b"!"
    for one in waited:
        one.close()


def test_a_worker_ends_with_its_supervisor(killed: list[tuple[int, int]]) -> None:
    ours, theirs = socket.socketpair()
    ours.close()

    with theirs:
        processes._end_with_supervisor(theirs)

    assert killed == [(os.getpgid(0), signal.SIGTERM)]
