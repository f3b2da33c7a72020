"""Put load on one contender, and measure its rate and its processor time."""

from __future__ import annotations

import itertools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

SCRIPT = Path(__file__).with_name("post.lua")
#: Tasks that run at the same time.
TASKS = 1000
_runs = itertools.count(1)


@dataclass(frozen=True)
class Measurement:
    """The results of one round of one contender."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    #: Seconds of processor, in user and system mode, of the whole process trees.
    server_cpu: float
    database_cpu: float

    @property
    def throughput(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_per_1000(self) -> float:
        """Seconds of processor of server and database per 1,000 requests."""
        return (self.server_cpu + self.database_cpu) / self.requests * 1000


class Processor:
    """Seconds of processor time of a process and its descendants since this object was made."""

    def __init__(self, root: psutil.Process | None) -> None:
        self.root = root
        self.before = self._now()

    def used(self) -> float:
        """Return the seconds since then."""
        return self._now() - self.before

    def _now(self) -> float:
        total = 0.0
        for process in [self.root, *self.root.children(recursive=True)] if self.root else []:
            try:
                # A child that has ended and been waited for counts with its parent.
                total += sum(process.cpu_times()[:4])
            except psutil.NoSuchProcess:
                continue
        return total


def wrk(url: str, token: str, connections: int, seconds: int) -> dict[str, Any]:
    """Post events to ``url`` for some seconds, and return wrk's summary; every answer must be a success."""
    run = f"{next(_runs):04d}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), url]
    said = subprocess.run(
        [*command, "--", run, str(TASKS), token], capture_output=True, text=True, check=True
    ).stdout
    summary: dict[str, Any] = json.loads(said.splitlines()[-1])
    if summary["rejected"] or summary["failed"] or not summary["requests"]:
        raise SystemExit(f"{url}: not every answer was a success: {summary}\n{said}")
    return summary
