"""The parts of the server in this process; tests/test_server.py runs it as it is deployed."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from sartiq_tasks import processes, server
from tests.servers import free_port

#: Listens, as a worker does; the handlers that are run beside it do nothing but wait.
LISTEN = (
    "import socket, sys\n"
    "listener = socket.create_server((sys.argv[1], int(sys.argv[2])))\n"
    "while True: listener.accept()"
)
WAIT = "import time; time.sleep(600)"
#: Tells the supervisor that it has begun, as a worker does.
TELL = f"import os, socket\nsocket.socket(fileno=int(os.environ['{processes.LIFELINE}'])).send(b'!')\n"
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


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port, for workers that only listen, in a process whose scheduling stays as it is."""
    monkeypatch.setattr(server, "_command", lambda *args: [sys.executable, "-c", LISTEN, *map(str, args[:2])])
    monkeypatch.setattr(server, "HANDLERS", (sys.executable, "-c", WAIT))
    monkeypatch.setattr(server, "DEAF", 0.1)
    monkeypatch.setattr(server, "HANDLERS_PATIENCE", 0.1)
    monkeypatch.setattr("os.sched_setscheduler", lambda *_: None, raising=False)
    return free_port()


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
