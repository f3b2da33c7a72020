"""How the server is run: what it asks of the machine, whose port it takes, and how it ends."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import psutil
import pytest
import requests

from sartiq_tasks.server import reserved
from tests.factories import body
from tests.servers import ROOT, Server, free_port, manage, project_environment, serving, stop

COMMAND = (sys.executable, "-m", "sartiq_tasks.server")


def started(tmp_path: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Start a server that is expected to end by itself."""
    environment = project_environment(f"sqlite:///{tmp_path}/db.sqlite3", **changes)
    return subprocess.run(
        COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.skipif(sys.platform != "linux", reason="a policy of Linux")
@pytest.mark.parametrize("is_allowed", [True, False])
def test_workers_do_not_interrupt_each_other_if_the_kernel_lets_them(
    tmp_path: Path, is_allowed: bool
) -> None:
    forbid = "import os\ndef forbidden(*_): raise PermissionError\nos.sched_setscheduler = forbidden\n"
    (tmp_path / "sitecustomize.py").write_text("" if is_allowed else forbid)
    with serving(f"sqlite:///{tmp_path}/db.sqlite3", PYTHONPATH=str(tmp_path)) as server:
        policies = {os.sched_getscheduler(process.pid) for process in [server.process, *server.workers()]}

    assert policies == {os.SCHED_BATCH if is_allowed else os.SCHED_OTHER}


def test_each_worker_has_a_process_group_and_none_a_session(tmp_path: Path) -> None:
    """A terminal's Ctrl-C goes to a group, and Linux shares the processors out among sessions."""
    with serving(f"sqlite:///{tmp_path}/db.sqlite3") as server:
        workers = [process.pid for process in server.workers()]
        groups = {os.getpgid(pid) for pid in (server.process.pid, *workers)}
        sessions = {os.getsid(pid) for pid in (server.process.pid, *workers)}

    assert (len(groups), len(sessions)) == (1 + len(workers), 1)


@pytest.mark.parametrize(
    ("taken", "wanted"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("::", "127.0.0.1"),
     ("::1", "::1"), ("127.0.0.1", "localhost")],
)  # fmt: skip
@pytest.mark.parametrize("is_shared", [True, False])
def test_a_port_that_is_taken_is_one_line(tmp_path: Path, taken: str, wanted: str, is_shared: bool) -> None:
    """By anybody: by a server that would share it, too."""
    with socket.socket(socket.AF_INET6 if ":" in taken else socket.AF_INET) as other:
        if is_shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((taken, 0))
        other.listen()
        port = str(other.getsockname()[1])

        done = started(tmp_path, HOST=wanted, PORT=port)

    assert done.returncode == 1
    assert done.stderr == (
        f"Nothing can listen on {wanted}, port {port}: Address already in use. HOST and PORT name others.\n"
    )


def test_one_of_two_that_start_at_once_ends(tmp_path: Path) -> None:
    environment = project_environment(f"sqlite:///{tmp_path}/db.sqlite3", PORT=str(free_port()))
    two = [
        psutil.Popen(COMMAND, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    try:
        ended, serves = psutil.wait_procs(two, timeout=20)
        assert ([one.returncode for one in ended], len(serves)) == ([1], 1)
    finally:
        for one in two:
            stop(one)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PORT": "99999"}, "port must be 0-65535"),
        ({"PORT": "http"}, "invalid int value: 'http'"),
        ({"HOST": "nowhere.invalid"}, "Nothing can listen on nowhere.invalid"),
        ({"HOST": "192.0.2.1"}, "Cannot assign requested address"),
        ({"WORKERS": "0"}, "invalid _positive value: '0'"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL is not the URL of a database"),
        ({"PROMETHEUS_MULTIPROC_DIR": "/proc"}, "PROMETHEUS_MULTIPROC_DIR=/proc cannot be used: "),
        ({"PROMETHEUS_MULTIPROC_DIR": "/proc/a/b"}, "PROMETHEUS_MULTIPROC_DIR=/proc/a/b cannot be used: "),
        ({"PROMETHEUS_MULTIPROC_DIR": __file__}, "test_server.py cannot be used: File exists."),
    ],
)
def test_a_server_that_cannot_start_says_so_and_ends(
    tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    done = started(tmp_path, **({"PORT": str(free_port())} | changes))

    assert done.returncode != 0
    assert words in done.stderr.splitlines()[-1]


def test_a_fault_that_comes_later_is_not_laid_to_the_port() -> None:
    with pytest.raises(OSError, match="later"), reserved("127.0.0.1", free_port()):
        raise OSError("later")


@pytest.mark.parametrize("name", ["", "metrics"])
def test_the_workers_count_in_the_directory_that_is_named_and_in_no_other(
    own_database: str, tmp_path: Path, name: str
) -> None:
    """An empty variable names none: prometheus-client would write where the server was started."""
    directory = str(tmp_path / name) if name else ""
    before = set(ROOT.glob("*.db"))
    with serving(
        own_database, "--workers", "1", METRICS_TOKEN="a" * 16, PROMETHEUS_MULTIPROC_DIR=directory
    ) as server:
        assert server.post(body()).status_code == 200
        page = requests.get(
            f"{server.url}/metrics", headers={"Authorization": f"Bearer {'a' * 16}"}, timeout=60
        )

        assert 'deliveries_total{outcome="stored"} 1.0' in page.text
        assert set(ROOT.glob("*.db")) == before
        assert len(list(tmp_path.glob("metrics/*.db"))) == (2 if name else 0)


def test_an_address_of_ipv6(tmp_path: Path) -> None:
    port = str(free_port())
    environment = project_environment(f"sqlite:///{tmp_path}/db.sqlite3", PORT=port, HOST="::1")
    process = psutil.Popen(COMMAND, cwd=ROOT, env=environment)
    try:
        assert answers("::1", port)
    finally:
        stop(process)


def answers(host: str, port: str) -> bool:
    for _ in range(300):
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=1) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(12) == b"HTTP/1.1 200"
        time.sleep(0.1)
    return False


@contextmanager
def in_terminal(server: Server, database_url: str) -> Iterator[Callable[[], int]]:
    """Take the place of ``server`` with one that a terminal runs; give what types Ctrl-C there."""
    stop(server.process)
    port = server.url.rsplit(":", 1)[1]
    environment = project_environment(database_url, PORT=port)
    ours, theirs = pty.openpty()
    attach = (
        "import fcntl, os, sys, termios\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = psutil.Popen(
        (sys.executable, "-c", attach, *COMMAND), cwd=ROOT, env=environment, start_new_session=True,
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    server.process = process
    # A terminal shows what it is sent. Its buffer holds some 40 lines of the log; then the server would wait.
    Thread(target=read_to_the_end, args=[ours], daemon=True).start()
    try:
        assert answers("127.0.0.1", port)
        yield lambda: os.write(ours, b"\x03")
    finally:
        stop(process)
        os.close(ours)


def read_to_the_end(terminal: int) -> None:
    with suppress(OSError):  # nobody has it open any more
        while os.read(terminal, 65536):
            pass


STORED = """
from tasks.models import TaskStatusEvent
print(*TaskStatusEvent.objects.values_list("task_id", flat=True), sep="\\n")
"""


def test_ctrl_c_finishes_what_was_taken_and_ends(own_database: str) -> None:
    times = int(os.environ.get("CTRL_C", "2"))
    sent: dict[str, int | None] = {}
    with serving(own_database) as server:
        for turn in range(times):
            with in_terminal(server, own_database) as press_ctrl_c, ThreadPoolExecutor(8) as pool:
                posts = [pool.submit(post, server, f"{turn}-{n}") for n in range(40)]
                while not any(one.done() for one in posts):
                    time.sleep(0.01)
                press_ctrl_c()
                assert server.process.wait(five_seconds()) == 0, "it ends within five seconds"
            answered = {f"{turn}-{n}": one.result() for n, one in enumerate(posts)}
            assert set(answered.values()) <= {200, None}
            sent |= answered
    stored = set(manage("shell", "-v", "0", "-c", STORED, database_url=own_database).split())
    assert stored == {task_id for task_id, status in sent.items() if status == 200}


def five_seconds() -> float:
    """Return five seconds, or as much more as others leave of this machine: a deadlock would take 40."""
    return min(30, 5 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1)))


def post(server: Server, task_id: str) -> int | None:
    """Return the status of the answer, or None if the server did not take the request any more.

    It closes connections that it has accepted, if it has read no request from them yet.
    """
    try:
        return server.post(body(task_id=task_id)).status_code
    except requests.ConnectionError:
        return None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_all_that_it_started(own_database: str, number: signal.Signals) -> None:
    with serving(own_database) as server:
        family = server.process.children(recursive=True)
        server.process.send_signal(number)
        assert server.process.wait(10) == 0
        assert psutil.wait_procs(family, timeout=1)[1] == []


def test_ctrl_c_twice_does_not_wait_for_the_database(own_database: str) -> None:
    from tests.test_kills import held

    with (
        serving(own_database, DB_LOCK_TIMEOUT_MS="30000") as server,
        held(own_database),
        ThreadPoolExecutor(1) as pool,
    ):
        pool.submit(post_in_vain, server)
        time.sleep(1)
        for _ in range(2):
            server.process.send_signal(signal.SIGINT)
            time.sleep(1.2)
        assert server.process.wait(5) == 0


def post_in_vain(server: Server) -> None:
    with suppress(OSError):
        server.post(body())


def test_all_ends_if_the_supervisor_is_killed(own_database: str) -> None:
    with serving(own_database) as server:
        family = server.process.children(recursive=True)
        server.process.kill()
        assert psutil.wait_procs(family, timeout=10)[1] == []


@pytest.mark.parametrize("after", [0.0, 0.3, 0.6, 1.0])
def test_a_signal_ends_it_while_it_starts(own_database: str, after: float) -> None:
    environment = project_environment(own_database, PORT=str(free_port()))
    process = psutil.Popen(COMMAND, cwd=ROOT, env=environment)
    try:
        while not process.children():
            time.sleep(0.01)
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
    finally:
        stop(process)


def test_a_worker_is_replaced_with_all_that_it_started(own_database: str) -> None:
    """Granian's main process of a worker is killed: the worker that it leaves behind goes too."""
    with serving(own_database, WORKERS="1") as server:
        (main,) = server.process.children()
        (worker,) = main.children()
        main.kill()
        psutil.wait_procs([worker], timeout=10)
        assert not worker.is_running()
        assert answers("127.0.0.1", server.url.rsplit(":", 1)[1])


@pytest.mark.parametrize("has_gone", [True, False])
def test_a_worker_is_replaced_though_nobody_reads_the_log(tmp_path: Path, has_gone: bool) -> None:
    """The reader of a pipe has gone, which breaks the pipe, or it is stopped and the pipe is full."""
    port, (reader, writer) = str(free_port()), os.pipe()
    environment = project_environment(f"sqlite:///{tmp_path}/db.sqlite3", PORT=port, WORKERS="1")
    process = psutil.Popen(COMMAND, cwd=ROOT, env=environment, stderr=writer)
    try:
        assert answers("127.0.0.1", port)
        if has_gone:
            os.close(reader)
        else:
            os.set_blocking(writer, False)
            with suppress(BlockingIOError):
                while True:
                    os.write(writer, b"x" * 4096)
            os.set_blocking(writer, True)  # which the server shares
        (main,) = process.children()
        main.kill()
        psutil.wait_procs([main], timeout=10)
        assert answers("127.0.0.1", port)
        process.terminate()
        assert process.wait(15) == 0
    finally:
        stop(process)
        os.close(writer)
        if not has_gone:
            os.close(reader)
