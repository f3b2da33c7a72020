"""The app on SQLite, with 32 connections at once: every answer must be a success."""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
from pathlib import Path

from . import load
from .contenders import EVENTS, ours, require_tools, running, set_up


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.sqlite", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="seconds of each round (default 20)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32], help="default: 1 8 32")
    given = parser.parse_args()
    require_tools()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "db.sqlite3"
        server = ours(f"sqlite:///{file}")
        set_up(server)
        print("| connections | requests/s | p50 ms | p99 ms | rows |\n|---|---|---|---|---|")
        with running([server]):
            before = 0
            for connections in given.connections:
                said = load.wrk(server.url, server.token, connections, given.seconds)
                with sqlite3.connect(file) as database:
                    (rows,) = database.execute(f"SELECT count(*) FROM {EVENTS}").fetchone()
                if not said["requests"] <= rows - before <= said["requests"] + connections:
                    raise SystemExit(f"{said['requests']} answers, but {rows - before} rows")
                rate = said["requests"] / said["seconds"]
                columns = [connections, f"{rate:,.0f}", said["p50_ms"], said["p99_ms"], rows - before]
                print(f"| {' | '.join(map(str, columns))} |")
                before = rows


if __name__ == "__main__":
    main()
