"""Measure the webhook against its peers: ``make bench``, or ``python -m benchmarks.ingest --help``."""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

from tqdm import tqdm

from . import report
from .contenders import contenders, require_tools, running
from .load import Measurement
from .postgresql import postgresql

# The ceiling writes most; the floor, which writes nothing, follows while PostgreSQL tidies up after it.
NAMES = ["ours", "original", "async", "raw", "raw_cached", "textbook", "ceiling", "floor"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest",
        description="Measure the webhook against its peers, in interleaved rounds on one PostgreSQL.",
    )
    parser.add_argument(
        "--starts",
        type=int,
        default=1,
        help="start all of them again so many times (default 1): one start of the same code is up to a tenth"
        " faster than another, which no number of rounds shows",
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="rounds of each contender in each start (default 7)"
    )
    parser.add_argument("--seconds", type=int, default=3, help="seconds of each round (default 3)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32], help="default: 1 8 32")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="only these contenders")
    parser.add_argument("--former", type=Path, metavar="CHECKOUT", help="measure the app in there, too")
    given = parser.parse_args()
    if given.former and not (given.former / "benchmarks" / "ingest" / "contenders.py").exists():
        parser.error(
            f"argument --former: {given.former} is not a checkout of this repository with this benchmark"
        )
    require_tools()
    measured: dict[tuple[str, int], list[Measurement]] = {}
    with postgresql() as database:
        chosen = sorted(
            contenders(database, given.only, given.former),
            key=lambda contender: ["former", *NAMES].index(contender.name),
        )
        planned = given.starts * given.rounds * len(given.connections) * len(chosen)
        with tqdm(total=planned, unit="measurement") as progress:
            for _ in range(given.starts):
                with running(chosen):
                    for contender in chosen:
                        contender.measure(database, 8, 1)  # to warm up: connections, plans, caches
                    for connections, contender in product(given.connections * given.rounds, chosen):
                        one = contender.measure(database, connections, given.seconds)
                        measured.setdefault((contender.name, connections), []).append(one)
                        progress.update()
                chosen.reverse()  # none always has the same one before it
        versions = report.versions(database)
    print(report.table(measured, given.connections))
    print(versions)


if __name__ == "__main__":
    main()
