"""Run the server and keep it running: ``python -m sartiq_tasks.server [--host] [--port] [--workers]``.

Each worker is a Granian of its own, and all of them listen on one port. If one dies, the others go
on and another takes its place; Granian's own respawning gives up after two deaths in 5.5 seconds.
Options that are not ours go to Granian.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from django.core.exceptions import ImproperlyConfigured

from .processes import LIFELINE

ROOT = Path(__file__).resolve().parent.parent
#: Connections that the kernel and the workers together hold before they are answered.
BACKLOG = 1024
#: Seconds between two starts of one worker.
RESPAWN_INTERVAL = 1.0
#: Seconds that a worker is given to heed signals, before it is told to stop all the same.
DEAF = 20.0
#: Seconds that handlers beside a server may take to end. The next worker begins again what they had begun.
HANDLERS_PATIENCE = 4.0


def main() -> None:
    """Serve until a signal says to stop; end with an exit code and one line if that cannot be."""
    options, of_granian = parser().parse_known_args()
    try:
        from . import settings  # noqa: F401
    except ImproperlyConfigured as error:
        sys.exit(f"The server cannot start. {error}")
    sys.exit(serve(options.host, options.port, options.workers, of_granian))


def parser() -> argparse.ArgumentParser:
    """Return the parser of our options, whose defaults are the environment's."""
    ours = argparse.ArgumentParser(prog="python -m sartiq_tasks.server", description=__doc__)
    ours.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"))
    ours.add_argument("--port", type=int, default=os.environ.get("PORT", "8000"))
    ours.add_argument("--workers", type=_positive, default=os.environ.get("WORKERS", "2"))
    return ours


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def serve(
    host: str,
    port: int,
    workers: int,
    options: Sequence[str] = (),
    announce: Callable[[], None] = lambda: None,
    *,
    with_handlers: bool = False,
) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP comes, and return the exit code.

    ``announce`` is called when the server listens, and ``run_handlers`` then started beside it if asked
    for. A worker that dies before that ends the server: its configuration is wrong, and it has said how.
    """
    signals: list[float] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signals.append(time.monotonic()))
    # Otherwise a terminal under "stty tostop" would stop a worker that writes to it.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with reserved(host, port) as address:
        _prepare_machine()
        command = _command(address, port, workers, options)
        family = [_Worker(command) for _ in range(workers)]
        try:
            while not signals and not _listens(address, port):
                if any(worker.has_died() for worker in family):
                    return 1
                time.sleep(0.1)
            announce()
            if with_handlers:
                family.append(_Worker(HANDLERS, name="The handlers' process", patience=HANDLERS_PATIENCE))
            while not signals:
                for worker in family:
                    worker.replace_if_dead()
                time.sleep(0.1)
            return 0
        finally:
            _stop(family, signals)


@contextmanager
def reserved(host: str, port: int) -> Iterator[str]:
    """Give the address that ``host`` names; exit with one line if nobody can listen there.

    Granian shares its port with any server of the same user (``SO_REUSEPORT``): two servers would
    both start, and the kernel would deal the deliveries to both.
    """
    with closing(socket.socket(socket.AF_UNIX)) as name:
        try:
            family, _, _, _, (address, *_) = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections do not count
                probe.bind((address, port))
            # Until the workers listen, a name in the kernel keeps the port from a second server of ours.
            if sys.platform == "linux":  # pragma: no branch (tested on Linux; no other has such names)
                name.bind(f"\0sartiq-tasks {address} {port}")
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            sys.exit(f"Nothing can listen on {host}, port {port}: {reason}. HOST and PORT name others.")
        yield str(address)


def _prepare_machine() -> None:
    # What former processes counted is not what these will count.
    if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        try:
            Path(directory).mkdir(parents=True, exist_ok=True)
            for file in Path(directory).glob("*.db"):
                file.unlink()
            with TemporaryFile(dir=directory):
                pass  # it can be written
        except OSError as error:
            sys.exit(f"PROMETHEUS_MULTIPROC_DIR={directory} cannot be used: {error.strerror}.")
    else:  # prometheus-client would take an empty one for the current directory
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    # A worker that wakes up does not interrupt one that is at work, if the kernel lets us.
    if sys.platform == "linux":  # pragma: no branch (tested on Linux; no other has such a policy)
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _in_new_process(function: str) -> tuple[str, str, str]:
    return sys.executable, "-c", f"from sartiq_tasks.processes import {function}; {function}()"


#: The command that runs the handlers beside a server.
HANDLERS = _in_new_process("run_handlers")


def _command(address: str, port: int, workers: int, options: Sequence[str]) -> list[str]:
    return [
        *_in_new_process("run_granian"),
        "sartiq_tasks.processes:application", "--factory",
        "--interface", "wsgi",
        "--host", address,
        "--port", str(port),
        "--backpressure", str(max(1, BACKLOG // workers)),
        "--blocking-threads", os.environ.get("THREADS", "3"),
        # A thread that ends would leave its database connection behind.
        "--blocking-threads-idle-timeout", "600",
        # One that hangs as it stops is killed, later than the longest wait for the database.
        "--workers-kill-timeout", "40",
        "--no-ws",
        "--http", "1",
        "--http1-header-read-timeout", "10000",
        "--log-level", os.environ.get("LOG_LEVEL", "warning"),
        *options,
    ]  # fmt: skip


class _Worker:
    """A Granian of one worker, or the handlers' process, in a process group of its own.

    A terminal sends Ctrl-C to all processes of a group. Granian's worker would get that and then
    what its own main process sends, and it deadlocks on a second signal. So only the main process
    is told to stop. It has no session of its own, among which Linux shares the processors out.
    """

    def __init__(
        self, command: Sequence[str], *, name: str = "A worker", patience: float = float("inf")
    ) -> None:
        self._command, self._name, self._patience = command, name, patience
        self._start()

    def _start(self) -> None:
        self._started = time.monotonic()
        self._lifeline, theirs = socket.socketpair()
        self._lifeline.settimeout(DEAF)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                cwd=ROOT,
                env=os.environ | {LIFELINE: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                process_group=0,
            )

    def has_died(self) -> bool:
        """Return whether it has ended; if its main process was killed, its worker is killed too."""
        if self._process.returncode is None and self._process.poll() is not None:
            self.kill()
        return self._process.returncode is not None

    def replace_if_dead(self) -> None:
        """Start another if this one has ended, but not more than one a second."""
        if self.has_died() and time.monotonic() - self._started > RESPAWN_INTERVAL:
            _say(f"{self._name} ended ({self._process.returncode}): another is started.")
            self.close()
            self._start()

    def terminate(self) -> None:
        """Tell it to finish the requests that it took, and then to end, once it heeds signals."""
        with suppress(OSError):
            self._lifeline.recv(1)
        self._process.terminate()
        self._told = time.monotonic()

    def kill_if_late(self, *, in_haste: bool) -> None:
        """End it at once if it has not ended in the time that it is given; ``in_haste``, give it none."""
        if not self.has_died() and (in_haste or time.monotonic() - self._told > self._patience):
            self.kill()

    def close(self) -> None:
        """Close this end of its lifeline."""
        self._lifeline.close()

    def kill(self) -> None:
        """End it and all that it started at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _say(line: str) -> None:
    """Write ``line`` to standard error, and wait for no reader: one may have gone, or be stopped."""

    def write() -> None:
        # print() would hold a lock that the interpreter's end waits for.
        with suppress(OSError):
            os.write(2, f"{line}\n".encode())

    threading.Thread(target=write, daemon=True).start()


def _listens(address: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


def _stop(family: Sequence[_Worker], signals: Sequence[float]) -> None:
    """Let all finish what they took; a second Ctrl-C, a second or more after the first, ends them at once."""
    for worker in family:
        worker.terminate()
    while not all(worker.has_died() for worker in family):
        in_haste = bool(signals) and signals[-1] - signals[0] > 1
        for worker in family:
            worker.kill_if_late(in_haste=in_haste)
        time.sleep(0.05)
    for worker in family:
        worker.close()


if __name__ == "__main__":
    main()
