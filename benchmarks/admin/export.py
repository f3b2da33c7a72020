"""How fast the ledger's export streams, and how much memory it takes.

Each number of rows has a process of its own: what another one took before would hide what it takes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

ROWS = (10_000, 100_000, 1_000_000)
URL = "/admin/sartiq_tasks/taskstatusevent/export.csv"


def table(user: str, stored: int) -> str:
    """Return the table of the exports of every stored row, as ``user`` gets them."""
    lines = [
        "| CSV export of | seconds | rows/s | MB | peak memory before, MB | more at the end, MB |",
        "|---|---|---|---|---|---|",
    ]
    for rows in ROWS:
        if rows <= stored:
            command = [sys.executable, "-m", __name__, user, str(rows)]
            lines.append(
                _line(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
            )
    return "\n".join(lines)


def _line(rows: int, seconds: float, size: int, before: int, after: int) -> str:
    megabytes, grown = before / 1024, (after - before) / 1024
    return (
        f"| {rows:,} rows | {seconds:.1f} | {rows / seconds:,.0f} | {size / 1e6:.0f} "
        f"| {megabytes:.1f} | {grown:.1f} |"
    )


def _export(user: str, rows: int) -> dict[str, Any]:
    """Read the head and that many rows of the file; the memory before is measured after the head."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(get_user_model().objects.get_by_natural_key(user))
    parts: Any = client.get(URL).streaming_content
    size, before, begin = len(next(parts)), _peak(), time.perf_counter()
    exported = 0
    for part in islice(parts, rows):
        size, exported = size + len(part), exported + 1
    if exported < rows:
        raise SystemExit(f"{exported} rows exported of {rows}")
    return {
        "rows": exported, "seconds": time.perf_counter() - begin, "size": size, "before": before,
        "after": _peak(),
    }  # fmt: skip


def _peak() -> int:
    """Return the most memory so far in kilobytes; getrusage would return the parent's if that is more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


if __name__ == "__main__":
    import django

    django.setup()
    json.dump(_export(sys.argv[1], int(sys.argv[2])), sys.stdout)
