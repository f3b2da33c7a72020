"""What a delivery costs on Citus: the commands that other nodes get, and the processor of nodes and web.

All nodes must run on this machine, and let their superuser in. The database ``--url`` knows the workers
(``citus_add_node``); nothing else in it is touched. The processor is that of the sessions that serve the
deliveries, so that it does not matter what else the nodes do.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, median
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg

from .profile import body, clients_token

DATABASE = "sartiq_tasks_bench"
ROOT = Path(__file__).resolve().parent.parent.parent
#: How a layout is told, what ``DISTRIBUTED`` is there, how many workers, and which node takes the deliveries.
LAYOUTS = {
    "plain": ("PostgreSQL alone", False, 0, "coordinator"),
    "one": ("the one statement of PostgreSQL", False, 2, "coordinator"),
    "1": ("1 worker", True, 1, "coordinator"),
    "2": ("2 workers", True, 2, "coordinator"),
    "4": ("4 workers", True, 4, "coordinator"),
    "any": ("2 workers", True, 2, "one of them"),
    "central": ("2 workers, credentials at the coordinator", True, 2, "coordinator"),
    "central-any": ("2 workers, credentials at the coordinator", True, 2, "one of them"),
}
#: Those where only handlers are copied to every node.
CENTRAL = ("central", "central-any")
COLUMNS = (
    "| layout | taken by | commands to other nodes | coordinator ms | workers ms | web ms | median ms"
    " | a token ms |\n|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.citus", description=__doc__)
    parser.add_argument("--url", required=True, help="the coordinator: postgres://user@127.0.0.1:5432/name")
    parser.add_argument("--requests", type=int, default=1000, help="deliveries of a round (default 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each layout (default 3)")
    parser.add_argument("--only", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--layout", choices=LAYOUTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.layout:
        print(json.dumps(measure(given.url, given.layout, given.requests)))
        return
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in given.only}
    for _ in range(given.rounds):
        for name, measured in rounds.items():
            command = [sys.executable, "-m", __spec__.name, "--url", given.url, "--layout", name]
            command += ["--requests", str(given.requests)]
            said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
            measured.append(json.loads(said.splitlines()[-1]))
    print(COLUMNS)
    for name, measured in rounds.items():
        words, _, _, taker = LAYOUTS[name]
        told = (median(one[key] for one in measured) for key in measured[0])
        print("| {} | {} | {:.1f} | {:.2f} | {:.2f} | {:.2f} | {:.1f} | {:.1f} |".format(words, taker, *told))


def measure(url: str, layout: str, requests: int) -> dict[str, float]:
    """Post ``requests`` events in this process, one after the other; return what one of them costs."""
    _, is_distributed, count, taker = LAYOUTS[layout]
    given = urlsplit(url)
    nodes = [(given.hostname or "127.0.0.1", given.port or 5432), *_workers(url)[:count]]
    if len(nodes) != count + 1:
        raise SystemExit(f"{layout} needs {count} workers.")
    for node in reversed(nodes):
        _make(url, node, is_citus=count > 0)
    os.environ |= {
        "DATABASE_URL": _url(url, nodes[0], DATABASE),
        "DISTRIBUTED": "on" if is_distributed else "off",
        "DJANGO_SETTINGS_MODULE": "sartiq_tasks.settings",
        "LOG_DELIVERIES": "off",
        "SECRET_KEY": "only for benchmarks, and long enough for every check that there is",
        "ALLOWED_HOSTS": "testserver",
        "HTTPS": "off",
    }
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    if count:
        _join(connection, nodes)
        if layout in CENTRAL:
            _keep_credentials()
        call_command("distribute_ledger", verbosity=0, stdout=sys.stderr)
    token = clients_token()
    issuing = _issuing()
    if taker != "coordinator":
        connection.close()
        connection.settings_dict["HOST"], connection.settings_dict["PORT"] = nodes[1]
    return _posted(connection, token, nodes, requests) | {"token": issuing * 1000}


def _keep_credentials() -> None:
    """Leave tokens and what they refer to at the coordinator, where the other nodes can ask for them."""
    from tasks.database import distribution
    from tasks.models import Handler

    copied, given = distribution.Place.EVERYWHERE, distribution.places()
    moved = {name for name, place in given.items() if place is copied} - {Handler._meta.db_table}
    changed = given | dict.fromkeys(moved, distribution.Place.AT_COORDINATOR)
    distribution.places = lambda: changed  # type: ignore[assignment]


def _issuing() -> float:
    """Return the median of the seconds that it takes to issue a token."""
    from oauth2_provider.models import get_application_model

    from tasks.auth.clients import issue_token

    client, times = get_application_model().objects.get(), []
    for _ in range(50):
        start = time.perf_counter()
        issue_token(client)
        times.append(time.perf_counter() - start)
    return median(times)


def _posted(connection: Any, token: str, nodes: list[tuple[str, int]], requests: int) -> dict[str, float]:
    from django.test import Client

    client = Client(headers={"Authorization": f"Bearer {token}"})

    def post(number: int) -> None:
        answer = client.post("/api/v1/tasks/webhook", body(number), content_type="application/json")
        if answer.status_code != 200:
            raise SystemExit(f"answered {answer.status_code}: {answer.content!r}")

    for number in range(200):  # connections, plans, caches
        post(number)
    before = [_used(connection, node) for node in nodes]
    web, times = time.thread_time(), []
    for number in range(requests):
        start = time.perf_counter()
        post(1000 + number)
        times.append(time.perf_counter() - start)
    spent = [_used(connection, node) - used for node, used in zip(nodes, before, strict=True)]
    web = time.thread_time() - web
    return {
        "commands": mean(
            _commands(connection, lambda number=number: post(number)) for number in range(500, 520)
        ),
        "coordinator": spent[0] / requests * 1000,
        "workers": sum(spent[1:]) / requests * 1000,
        "web": web / requests * 1000,
        "median": median(times) * 1000,
    }


def _commands(connection: Any, act: Any) -> int:
    """Return how many commands the node sends to others for ``act``."""
    sent: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'citus'")
        if cursor.fetchone() is None:
            act()
            return 0
        cursor.execute("SET citus.log_remote_commands = on; SET client_min_messages = notice")

    def listen(notice: Any) -> None:
        if re.match(r"issuing (?!SET citus)", notice.message_primary):
            sent.append(notice.message_primary)

    connection.connection.add_notice_handler(listen)
    act()
    connection.connection.remove_notice_handler(listen)
    with connection.cursor() as cursor:
        cursor.execute("RESET citus.log_remote_commands; RESET client_min_messages")
    return len(sent)


def _workers(url: str) -> list[tuple[str, int]]:
    with psycopg.connect(url) as session:
        return session.execute(
            "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 ORDER BY groupid"
        ).fetchall()


def _url(url: str, node: tuple[str, int], name: str) -> str:
    who = urlsplit(url).netloc.rpartition("@")[0]
    return f"postgres://{who}@{node[0]}:{node[1]}/{name}"


def _make(url: str, node: tuple[str, int], *, is_citus: bool) -> None:
    """Make an empty database in place of the old one."""
    with psycopg.connect(_url(url, node, "postgres"), autocommit=True) as session:
        session.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        session.execute(f"CREATE DATABASE {DATABASE}")
    if is_citus:
        with psycopg.connect(_url(url, node, DATABASE), autocommit=True) as session:
            session.execute("CREATE EXTENSION citus")


def _join(connection: Any, nodes: list[tuple[str, int]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT citus_set_coordinator_host(%s, %s)", nodes[0])
        for node in nodes[1:]:
            cursor.execute("SELECT citus_add_node(%s, %s)", node)


def _used(connection: Any, node: tuple[str, int]) -> float:
    """Return the seconds of processor of the sessions of a node in the database."""
    given = connection.get_connection_params()
    with psycopg.connect(host=node[0], port=node[1], user=given["user"], dbname="postgres") as session:
        found = session.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'",
            [DATABASE],
        )
        return sum(sum(psutil.Process(pid).cpu_times()[:2]) for (pid,) in found)


if __name__ == "__main__":
    main()
