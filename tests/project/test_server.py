"""The parts of the server in this process; tests/test_server.py runs it as it is deployed."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sartiq_tasks import server, wsgi
from tests.servers import free_port

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Listens, as a worker does; the handlers that are run beside it do nothing but wait.
LISTEN = (
    "import socket, sys\n"
    "listener = socket.create_server((sys.argv[1], int(sys.argv[2])))\n"
    "while True: listener.accept()"
)
WAIT = "import time; time.sleep(600)"
#: Tells the supervisor that it has begun, as a worker does.
TELL = f"import os, socket\nsocket.socket(fileno=int(os.environ['{server.LIFELINE}'])).send(b'!')\n"
#: Heeds no SIGTERM from then on.
DEAF = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{TELL}"
#: Takes a moment to end when it is told to, and then makes the file that its argument names.
FINISH = f"""
import signal, sys, time
def finish(*_):
    time.sleep(0.3)
    open(sys.argv[1], "x")
    sys.exit()
signal.signal(signal.SIGTERM, finish)
{TELL}"""


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Give back the handlers of signals, which the server changes for its process."""
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port, for workers that only listen, in a process whose scheduling stays as it is."""
    monkeypatch.setattr(server, "_command", lambda *args: [sys.executable, "-c", LISTEN, *map(str, args[:2])])
    monkeypatch.setattr(server, "HANDLERS", (sys.executable, "-c", WAIT))
    monkeypatch.setattr(server, "DEAF", 0.1)
    monkeypatch.setattr(server, "HANDLERS_PATIENCE", 0.1)
    monkeypatch.setattr("os.sched_setscheduler", lambda *_: None, raising=False)
    return free_port()


@pytest.fixture
def lifeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The supervisor's end, of which the worker finds its own in the environment."""
    ours, theirs = socket.socketpair()
    # The worker owns its descriptor, and closes it when it ends.
    monkeypatch.setenv(server.LIFELINE, str(os.dup(theirs.fileno())))
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
    monkeypatch.setattr(server, "_end_with_supervisor", waited.append)
    return waited


def test_a_worker_says_when_it_heeds_signals(
    monkeypatch: pytest.MonkeyPatch, lifeline: socket.socket
) -> None:
    """Not before Granian, which loses those that come while it starts, has set its own handlers."""
    waited = threads_run_at_once(monkeypatch)
    monkeypatch.setattr(server, "BEGINS", 0)

    assert server.application() is wsgi.application
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
    monkeypatch.delenv(server.LIFELINE, raising=False)

    assert server.application() is wsgi.application


def test_granian_forks_its_worker_whatever_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is spawned inherits nothing, and could not know of its supervisor."""
    asked: list[str] = []
    monkeypatch.setattr("multiprocessing.set_start_method", asked.append)
    monkeypatch.setattr("granian.cli.entrypoint", lambda: asked.append("serve"))

    server.run_granian()

    assert asked == ["fork", "serve"]


def test_the_handlers_process_runs_the_command(
    monkeypatch: pytest.MonkeyPatch, lifeline: socket.socket
) -> None:
    waited = threads_run_at_once(monkeypatch)
    run: list[Any] = []
    monkeypatch.setattr("django.core.management.execute_from_command_line", run.append)

    server.run_handlers()

    assert run == [["manage.py", "run_handlers"]]
    assert lifeline.recv(2) == b"!"
    for one in waited:
        one.close()


def test_a_worker_ends_with_its_supervisor(killed: list[tuple[int, int]]) -> None:
    ours, theirs = socket.socketpair()
    ours.close()

    with theirs:
        server._end_with_supervisor(theirs)

    assert killed == [(os.getpgid(0), signal.SIGTERM)]


@pytest.mark.parametrize("with_handlers", [True, False])
def test_it_says_when_it_listens_and_serves_until_a_signal(port: int, with_handlers: bool) -> None:
    announced: list[bool] = []

    def announce() -> None:
        announced.append(server._listens("127.0.0.1", port))
        os.kill(os.getpid(), signal.SIGTERM)

    code = server.serve("127.0.0.1", port, 1, announce=announce, with_handlers=with_handlers)

    assert (code, announced) == (0, [True])
    assert not server._listens("127.0.0.1", port)


def test_a_worker_that_cannot_start_ends_it(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])

    assert server.serve("127.0.0.1", port, 1) == 1


def test_a_second_signal_does_not_wait(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker heeds no SIGTERM: the second Ctrl-C, more than a second after the first, ends it."""
    stop, deaf = server._stop, DEAF + LISTEN
    monkeypatch.setattr(server, "_command", lambda *args: [sys.executable, "-c", deaf, *map(str, args[:2])])
    monkeypatch.setattr(server, "_stop", lambda family, signals: stop(family, [0.0, 2.0]))

    assert server.serve("127.0.0.1", port, 1, announce=lambda: os.kill(os.getpid(), signal.SIGINT)) == 0
    assert not server._listens("127.0.0.1", port)


@pytest.mark.parametrize(("begin", "patience", "finishes"), [(FINISH, 10, True), (DEAF, 0.1, False)])
def test_handlers_have_their_time_and_no_more(
    port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, begin: str, patience: float, finishes: bool
) -> None:
    """One that heeds no SIGTERM would wait for ten minutes."""
    finished, begun = tmp_path / "finished", tmp_path / "begun"
    tell = f"open({str(begun)!r}, 'x')\n"
    monkeypatch.setattr(server, "HANDLERS", (sys.executable, "-c", begin + tell + WAIT, str(finished)))
    monkeypatch.setattr(server, "HANDLERS_PATIENCE", patience)
    monkeypatch.setattr(server, "DEAF", 10)
    monkeypatch.setattr(
        server, "_command", lambda *args: [sys.executable, "-c", TELL + LISTEN, *map(str, args[:2])]
    )

    def end_once_they_have_begun() -> None:
        while not begun.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    ender = threading.Thread(target=end_once_they_have_begun, daemon=True)
    code = server.serve("127.0.0.1", port, 1, announce=ender.start, with_handlers=True)

    assert (code, finished.exists()) == (0, finishes)


def test_former_counts_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.sched_setscheduler", lambda *_: None, raising=False)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "counts"))
    server._prepare_machine()
    (tmp_path / "counts" / "counter_1.db").touch()

    server._prepare_machine()

    assert list((tmp_path / "counts").iterdir()) == []


def test_no_port_is_one_line(port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(SystemExit, match=f"Nothing can listen on 127.0.0.1, port {port}: "),
        server.reserved("127.0.0.1", port),
    ):
        pass


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_the_number_of_workers(workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        server.parser().parse_args(["--workers", workers])

    assert "invalid" in capsys.readouterr().err
