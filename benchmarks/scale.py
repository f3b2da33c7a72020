"""Predict where each part saturates, from the measured costs of a delivery, and say how far off the model is.

The cores needed are the rate times a delivery's processor time, divided by how busy a core may be. The model
is checked as a closed network of ``connections`` senders, two cores, and a wait that takes no processor time
(mean value analysis).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

#: Milliseconds of processor time of a delivery, from docs/performance-runs.md.
WEB, DATABASE = 0.54, 0.34
#: How many times as much as one PostgreSQL the nodes of a Citus cluster spend, by benchmarks.ingest.citus.
CITUS = 4.5
#: Requests a second by connections, from docs/performance-runs.md.
MEASURED = {1: 981, 8: 1954, 32: 2024}
CORES = 2
WORKERS = (1_000, 100_000, 10_000_000)


@dataclass(frozen=True)
class Part:
    """Something that can be bought, and how much of it a delivery needs."""

    name: str
    each: float
    unit: str
    #: The most that one machine has.
    most: float


def parts(given: argparse.Namespace) -> Sequence[Part]:
    """Return the parts with what each delivery a second needs of them."""
    return (
        Part("web", given.web / 1000 / given.busy, "cores", given.cores),
        Part("PostgreSQL", given.database / 1000 / given.busy, "cores", given.cores),
        Part("WAL", given.wal / 1000, "MB/s", given.disk),
        Part("network", given.network * 8 / 1000, "Mbit/s", given.link),
    )


def predicted(connections: int, *, processor: float, wait: float) -> float:
    """Return the deliveries a second of ``connections`` that queue for ``CORES`` cores.

    By Seidmann's approximation several cores are one that is as many times as fast, and a delay.
    """
    queued, delayed = processor / CORES, processor * (CORES - 1) / CORES + wait
    length = rate = 0.0
    for number in range(1, connections + 1):
        time = queued * (1 + length)
        rate = number / (time + delayed)
        length = rate * time
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--web", type=float, default=WEB, help="ms of processor of a web worker's delivery")
    parser.add_argument("--database", type=float, default=DATABASE, help="ms of processor of PostgreSQL's")
    parser.add_argument("--citus", type=float, default=CITUS * DATABASE, help="ms of all nodes on Citus")
    parser.add_argument("--wal", type=float, default=3.0, help="kB of WAL")
    parser.add_argument("--network", type=float, default=2.7, help="kB through a web machine, both ways")
    parser.add_argument("--stored", type=float, default=0.9, help="kB of an event in tables and indexes")
    parser.add_argument("--every", type=float, default=15, help="seconds between two events of a GPU worker")
    parser.add_argument("--busy", type=float, default=0.6, help="share of a core that may be busy")
    parser.add_argument("--cores", type=int, default=32, help="cores of one machine")
    parser.add_argument("--disk", type=float, default=500, help="MB/s that its disk writes in order")
    parser.add_argument("--link", type=float, default=10_000, help="Mbit/s of its network")
    given = parser.parse_args()

    processor = (given.web + given.database) / 1000
    wait = 1 / MEASURED[1] - processor
    print("| connections | predicted | measured | measured is |\n|---|---|---|---|")
    for connections, measured in MEASURED.items():
        found = predicted(connections, processor=processor, wait=wait)
        print(f"| {connections} | {found:,.0f} | {measured:,} | {measured / found:.2f} |")

    print("\n| GPU workers | deliveries/s | " + " | ".join(one.name for one in parts(given)), end=" | ")
    print("stored a day | first to fill a machine | Citus cores |\n" + "|---" * 9 + "|")
    for workers in WORKERS:
        rate = workers / given.every
        needed = {one: rate * one.each for one in parts(given)}
        first = max(needed, key=lambda one: needed[one] / one.most)
        share = needed[first] / first.most
        cells = " | ".join(f"{value:,.1f} {one.unit}" for one, value in needed.items())
        stored = rate * 86_400 * given.stored / 1e6
        citus = rate * given.citus / 1000 / given.busy
        fills = f"{first.name}, {share:.1%}"
        print(f"| {workers:,} | {rate:,.0f} | {cells} | {stored:,.0f} GB | {fills} | {citus:,.1f} |")


if __name__ == "__main__":
    main()
