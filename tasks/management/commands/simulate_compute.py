"""``manage.py simulate_compute``."""

from __future__ import annotations

import secrets
import shlex
import sys
import threading
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from random import Random
from types import MappingProxyType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from ...simulation.cluster import last_updates, serving
from ...simulation.faults import Delivery, Fault, deliveries
from ...simulation.stories import Event, cluster_events
from ..progress import progress
from ..tables import aligned

try:
    import requests

    from ...simulation.sender import Sender, TokenRejectedError
except ModuleNotFoundError:
    requests = None  # type: ignore[assignment]

_FAULT_HELP = {
    Fault.DUPLICATE: "deliver this share of the events twice",
    Fault.SHUFFLE: "let this share of the events be overtaken by later ones",
    Fault.LATE: "deliver this share of the events only after all others",
    Fault.DROP: "never deliver this share of the events",
    Fault.MALFORMED: "first deliver this share of the events in a broken form, which must be rejected",
}


class Command(BaseCommand):
    """Play a compute cluster over HTTP."""

    help = (
        "Play a compute cluster: trainings, generations and upscalings post their status to a running "
        "server, over HTTP and with real tokens, in quick motion. Like a cluster, it sends an event again if "
        "the server cannot store it at the moment. At the end it prints a table of the events and their "
        "answers, and fails if an answer was wrong. Each fault takes a share between 0 and 1 (0.05)."
    )
    requires_system_checks = ()
    #: What the cluster knows of each task at the end: its last event, delivered or not.
    last_updates: Mapping[str, Event] = MappingProxyType({})
    #: Ends the status API.
    stopped = threading.Event()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the server, the client, the size and the faults."""
        parser.add_argument("--url", required=True, help="the server, such as http://127.0.0.1:8000")
        parser.add_argument(
            "--client-id", required=True, help="a client of `manage.py create_compute_client`"
        )
        parser.add_argument("--client-secret", required=True, help="that client's secret")
        parser.add_argument("--tasks", type=_positive(int), default=100, help="how many tasks (100)")
        parser.add_argument("--rate", type=_positive(float), default=20, help="events a second at most (20)")
        parser.add_argument(
            "--hours",
            type=_positive(float),
            default=3,
            help="the length of the time in which the events happen (3)",
        )
        parser.add_argument("--until", type=_datetime, help="the end of that time, in ISO 8601 (now)")
        parser.add_argument("--seed", type=int, help="the same seed makes the same tasks (random)")
        parser.add_argument(
            "--patience",
            type=_positive(float),
            default=60,
            help="seconds for which to try an event again (60)",
        )
        for fault in Fault:
            parser.add_argument(
                f"--{fault}", type=_share, nargs="?", const=0.05, default=0.0, metavar="SHARE",
                help=_FAULT_HELP[fault],
            )  # fmt: skip
        parser.add_argument(
            "--lose", type=_share, nargs="?", const=0.05, default=0.0, metavar="SHARE",
            help="never deliver this share of the events that end a task",
        )  # fmt: skip
        parser.add_argument(
            "--status",
            type=int,
            metavar="PORT",
            help="then answer on this port as the cluster's status API, for PROBE_URL, until told to stop",
        )

    def handle(self, *, tasks: int, rate: float, hours: float, seed: int | None, **options: Any) -> None:
        """Make up the events, post them, and report."""
        if requests is None:
            raise CommandError("simulate_compute needs an extra: pip install 'sartiq-tasks[simulator]'")
        is_given = seed is not None and options["until"] is not None
        seed = secrets.randbelow(1_000_000) if seed is None else seed
        random = Random(seed)  # noqa: S311 (a story, no secret)
        until = options["until"] or timezone.now()
        events = list(cluster_events(random, tasks=tasks, until=until, span=timedelta(hours=hours)))
        self.last_updates = last_updates(events)
        shares = {fault: options[fault.value] for fault in Fault}
        sent = deliveries(random, events, shares, lose=options["lose"])
        sender = Sender(
            options["url"].rstrip("/"), options["client_id"], options["client_secret"], options["patience"]
        )
        self._check(sender)
        outcomes, retries, unexpected = self._post(sender, sent, rate)
        self.stdout.write(table_of(outcomes))
        self.stdout.write(f"{tasks} tasks, {retries} deliveries sent again.")
        if not is_given:
            given = {"tasks": tasks, "rate": rate, "hours": hours, "seed": seed, "until": until.isoformat()}
            self.stdout.write(f"The same again:\n{_command_line(options | given)}")
        if unexpected:
            raise CommandError(f"{unexpected} deliveries got a wrong answer.")
        if options["status"] is not None:
            self._answer(options["status"])

    def _answer(self, port: int) -> None:
        """Answer for the cluster until told to stop."""
        with serving(self.last_updates, port=port) as url, suppress(KeyboardInterrupt):
            self.stdout.write(f"The cluster's status API: PROBE_URL={url} (Ctrl-C ends it)")
            self.stdout.flush()
            self.stopped.wait()

    def _check(self, sender: Sender) -> None:
        try:
            with requests.Session() as session:
                sender.log_in(session)
        except requests.RequestException as error:
            raise CommandError(
                f"No server answers at {sender.url}: {error} Start it, or correct --url."
            ) from error
        except TokenRejectedError as error:
            raise CommandError(
                f"{sender.url} gives this client no token: {error} "
                "Make one with `manage.py create_compute_client NAME`."
            ) from error

    def _post(
        self, sender: Sender, sent: list[Delivery], rate: float
    ) -> tuple[Counter[tuple[str, str]], int, int]:
        outcomes: Counter[tuple[str, str]] = Counter()
        retries = unexpected = 0
        results = sender.post_all(sent, rate=rate)
        with progress(sys.stderr, total=len(sent), unit="event") as done:
            for outcome in results:
                outcomes[outcome.delivery.fault or "event", outcome.answer] += 1
                retries += outcome.attempts - 1
                unexpected += not outcome.is_expected
                done(1)
        return outcomes, retries, unexpected


def _command_line(options: Mapping[str, Any]) -> str:
    """Return the line that runs the command with ``options``, ready to paste."""
    names = (
        "url",
        "client_id",
        "client_secret",
        "tasks",
        "rate",
        "hours",
        "patience",
        *Fault,
        "lose",
        "seed",
        "until",
    )
    words = [
        f"--{name.replace('_', '-')}={options[name]}"
        for name in names
        if options[name] != 0.0 or name == "seed"
    ]
    return shlex.join([sys.executable, sys.argv[0], "simulate_compute", *words])


def _positive(number: type[int] | type[float]) -> Any:
    def parse(text: str) -> float:
        value = number(text)
        if not 0 < value < float("inf"):
            raise ArgumentTypeError(f"{text} is not above 0")
        return value

    parse.__name__ = number.__name__
    return parse


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ArgumentTypeError(f"{text} is not between 0 and 1")
    return share


def _datetime(text: str) -> Any:
    value = parse_datetime(text)
    if value is None or value.tzinfo is None:
        raise ArgumentTypeError(f"{text} is not a date and time with an offset, such as 2026-05-01T12:00:00Z")
    return value


def table_of(outcomes: Counter[tuple[str, str]]) -> str:
    """Return a table of what was sent against what was answered."""
    answers = sorted({answer for _, answer in outcomes})
    rows = [["sent as", *answers, "all"]]
    for kind in sorted({kind for kind, _ in outcomes}):
        counts = [outcomes[kind, answer] for answer in answers]
        rows.append([kind, *map(str, counts), str(sum(counts))])
    return aligned(rows, str.rjust)
