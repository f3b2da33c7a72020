"""What the server starts: Granian, whose worker serves the application, and the handlers beside it.

Each ends when the supervisor does, because its lifeline is then closed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import Any

#: The environment's name for the descriptor over which supervisor and worker know of each other.
LIFELINE = "SARTIQ_TASKS_LIFELINE"
#: Seconds within which Granian's worker serves, once it has its own handlers of signals.
BEGINS = 0.5


def application() -> Any:
    """Return the application, in a worker which a signal ends while it still starts.

    The worker inherits the handlers of Granian's main process, which would swallow the signal. It
    tells the supervisor when that is over, and ends if the supervisor does.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if LIFELINE in os.environ:
        lifeline = socket.socket(fileno=int(os.environ[LIFELINE]))
        for job in (_end_with_supervisor, _tell_when_it_serves):
            threading.Thread(target=job, args=[lifeline], daemon=True).start()
    from .wsgi import application as loaded

    return loaded


def _tell_when_it_serves(lifeline: socket.socket) -> None:
    """Tell the supervisor that this worker heeds signals.

    If a signal comes just after Granian has set its handlers, and before it serves, its worker hangs
    until it is killed. Granian does not say when it serves.
    """
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        time.sleep(0.02)
    time.sleep(BEGINS)
    with suppress(OSError):
        lifeline.send(b"!")


def run_granian() -> None:
    """Run Granian with the arguments of this process.

    Its worker must inherit the lifeline, and so be forked. Since Python 3.14 that is not the default.
    """
    from granian.cli import entrypoint

    multiprocessing.set_start_method("fork")
    entrypoint()  # type: ignore[no-untyped-call]


def run_handlers() -> None:
    """Run the handlers in a process beside a server, which ends if the server does."""
    from django.core.management import execute_from_command_line

    lifeline = socket.socket(fileno=int(os.environ[LIFELINE]))
    threading.Thread(target=_end_with_supervisor, args=[lifeline], daemon=True).start()
    lifeline.send(b"!")
    execute_from_command_line(["manage.py", "run_handlers"])


def _end_with_supervisor(lifeline: socket.socket) -> None:
    with suppress(OSError):
        lifeline.recv(1)  # nothing is ever sent: it returns when the other end is closed
    os.kill(os.getpgid(0), signal.SIGTERM)  # Granian's main process, or what runs the handlers
