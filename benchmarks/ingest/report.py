"""Medians, spreads and ratios, as a table of Markdown."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.machine import processor

from .contenders import OURS, PEERS
from .load import Measurement
from .postgresql import PostgreSQL

Measured = Mapping[tuple[str, int], Sequence[Measurement]]
COLUMNS = ["requests/s", "spread", "ours is", "p50 ms", "p99 ms", "CPU ms", "of it database", "ours is"]
PACKAGES = ["django", "djangorestframework", "granian", "psycopg"]
PEER_PACKAGES = [
    "fastapi",
    "uvicorn",
    "sqlmodel",
    "sqlalchemy",
    "asyncpg",
    "pydantic",
    "gunicorn",
    "django-oauth-toolkit",
]


def table(measured: Measured, connections: Sequence[int]) -> str:
    """Return a table for each number of connections.

    The spread is that of the throughput: the lowest and the highest round. Seconds of processor
    per 1,000 requests are milliseconds per request.
    """
    lines = []
    for number in connections:
        head = [f"{number} connection{'s' if number > 1 else ''}", *COLUMNS]
        lines += ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        rounds = {name: found for (name, at), found in measured.items() if at == number}
        lines += [_line(name, found, rounds.get("ours")) for name, found in rounds.items()]
    return "\n".join(lines)


def _line(name: str, rounds: Sequence[Measurement], ours: Sequence[Measurement] | None) -> str:
    throughputs = [one.throughput for one in rounds]
    columns = [
        name,
        f"{median(throughputs):,.0f}",
        f"{min(throughputs):,.0f} to {max(throughputs):,.0f}",
        _ratio(ours, rounds, lambda one: one.throughput),
        f"{median(one.p50_ms for one in rounds):.2f}",
        f"{median(one.p99_ms for one in rounds):.2f}",
        f"{median(one.cpu_per_1000 for one in rounds):.3f}",
        f"{median(one.database_cpu / one.requests * 1000 for one in rounds):.3f}",
        _ratio(ours, rounds, lambda one: one.cpu_per_1000),
    ]
    return f"| {' | '.join(columns)} |"


def _ratio(
    ours: Sequence[Measurement] | None, theirs: Sequence[Measurement], of: Callable[[Measurement], float]
) -> str:
    """Return the median of the ratios within each round: what slows the machine slows both."""
    if ours is None or ours is theirs:
        return ""
    return f"{median(of(our) / of(their) for our, their in zip(ours, theirs, strict=True)):.2f}"


def versions(postgresql: PostgreSQL) -> str:
    """Return the machine, and the version of everything that took part."""
    wrk = subprocess.run(
        ["wrk", "--version"], capture_output=True, text=True, check=False
    ).stdout.splitlines()[0]
    return "\n".join(
        [
            "",
            f"{processor()}, {os.cpu_count()} cores; load of the last minute {os.getloadavg()[0]:.1f}",
            ", ".join(
                [
                    f"{platform.system()} {platform.release()}",
                    f"Python {platform.python_version()} ({Path(sys.base_prefix, 'bin')})",
                    f"PostgreSQL {postgresql.query('SHOW server_version')}",
                    wrk.split(" [")[0],
                ]
            ),
            "ours: " + _installed(OURS, PACKAGES),
            "peers: " + _installed(PEERS, PEER_PACKAGES),
        ]
    )


def _installed(programs: Path, packages: Sequence[str]) -> str:
    code = (
        "import sys, importlib.metadata as m; print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))"
    )
    command = [str(programs / "python"), "-c", code, *packages]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
