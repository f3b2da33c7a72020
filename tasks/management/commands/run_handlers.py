"""``manage.py run_handlers``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from ...conf import app_settings
from ...database.failures import first_line
from ...handlers.registry import by_name
from ...handlers.worker import PATIENCE, Worker
from ...ledger.catching_up import CatchUp
from ...ops import reaction_metrics, silence_metrics
from ...watchdog.threads import Watch


class Command(BaseCommand):
    """Run the worker, which calls handlers, and the watchdog, which asks about silent tasks."""

    help = (
        "Call the handlers in every app's task_handlers.py for changes of tasks, until told to stop. "
        "Also ask the cluster about silent tasks, and mark lost ones. Any number of these workers may run, "
        "on any number of machines. On SIGTERM a worker finishes the handlers that it has begun."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare how many threads, which handlers, and when to end."""
        parser.add_argument("--threads", type=int, default=4, help="handlers that run at once (4)")
        parser.add_argument(
            "--handler",
            action="append",
            metavar="NAME",
            help="only this handler (can be given more than once)",
        )
        parser.add_argument(
            "--once", action="store_true", help="end when nothing is due, for example for cron"
        )
        parser.add_argument(
            "--metrics",
            type=_address,
            metavar="HOST:PORT",
            help="count the attempts, and answer Prometheus there, without a token: choose a private address",
        )

    def handle(
        self,
        *,
        threads: int,
        handler: list[str] | None,
        once: bool,
        metrics: tuple[str, int] | None,
        **options: Any,
    ) -> None:
        """Work until told to stop."""
        if threads < 1:
            raise CommandError("--threads must be at least 1.")
        names = _chosen(handler)
        report = {"report": reaction_metrics.count} if metrics else {}
        workers = [Worker(names, threads=threads, sweep=CatchUp(), **report) for _ in range(1 + once)]
        with ExitStack() as stack:
            if metrics:
                _serve(stack, *metrics)
            watch = Watch(report=silence_metrics.count) if metrics else Watch()
            is_well = _work(workers, watch, once=once)
        if not is_well:
            self.stderr.write("A handler did not return in time. The supervisor starts the worker again.")
            sys.exit(1)


def _chosen(names: list[str] | None) -> list[str]:
    """Return ``names``, or those of all handlers."""
    known = by_name()
    if unknown := set(names or ()) - set(known):
        raise CommandError(f"No such handler: {', '.join(sorted(unknown))}. There are: {', '.join(known)}.")
    if not known and not app_settings().watches:
        # A supervisor can tell this from a crash: EX_CONFIG of sysexits.h.
        raise CommandError(
            "No app declares a handler in its task_handlers.py, and no setting asks for the watchdog.",
            returncode=78,
        )
    return names or list(known)


def _work(workers: Sequence[Worker], watch: Watch, *, once: bool) -> bool:
    """Run the first worker, and with ``once`` a second one; return False if a handler hangs."""

    def stop(*_: object) -> None:
        watch.stop()
        for worker in workers:
            worker.stop()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
    watch.start(once=once)
    try:
        is_well = workers[0].run(once=once)
        # What the watchdog's one look has marked or recorded has reactions too.
        if once and watch.wait():
            is_well = workers[1].run(once=True) and is_well
    except (DatabaseError, InterfaceError) as error:
        raise CommandError(f"The database failed for {PATIENCE:.0f} s: {first_line(error)}") from None
    finally:
        watch.stop()
    return is_well


def _address(text: str) -> tuple[str, int]:
    """Return ``HOST:PORT`` as both, an IPv6 address in brackets."""
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and int(port) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:9102.")
    return host.strip("[]"), int(port)


def _serve(stack: ExitStack, host: str, port: int) -> None:
    """Answer Prometheus until ``stack`` ends."""
    # The server's workers answer for each other by the files there. This process answers for itself, and
    # would be counted twice.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    try:
        silence_metrics.instruments()
        stack.enter_context(reaction_metrics.serving(host, port))
    except ImportError:
        raise CommandError("--metrics needs prometheus-client: pip install 'sartiq-tasks[metrics]'") from None
    except OSError as error:
        raise CommandError(f"Nothing can listen on {host}, port {port}: {error.strerror}") from None
