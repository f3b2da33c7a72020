"""Fuzz the served API by its OpenAPI document (Schemathesis): ``python -m fuzz.api [OPTION ...]``.

Runs for ``FUZZ_SECONDS`` against the project under ``scripts/serve``, on SQLite in a temporary
directory. Options go to ``schemathesis run``: ``--seed N`` repeats a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.servers import ROOT, serving, temporary_directory

SCHEMATHESIS = ROOT / ".venv-fuzz" / "bin" / "schemathesis"
#: What a run leaves: Schemathesis's report, with each request that found something.
REPORT = ROOT / "local" / "fuzz" / "api.json"
OPTIONS = (
    # The examples and stateful phases have nothing to do: the document has neither examples nor links.
    "--phases", "coverage,fuzzing",
    # None is switched off. What takes an event that the schema allows would also report one that a limit
    # of docs/contract.md refuses and the published schema does not tell; none so long was ever made.
    "--checks", "all",
    "--no-color",
)  # fmt: skip


def answers(log: Path) -> Counter[int]:
    """Return how many deliveries were given which status, by the server's ``log``."""
    lines = (line for line in log.read_text().splitlines() if line.startswith("{"))
    records = (json.loads(line) for line in lines)
    return Counter(record["status"] for record in records if record["logger"] == "tasks.deliveries")


def main() -> None:
    """Run until the time is over; the exit code is zero if nothing was found."""
    seconds = os.environ.get("FUZZ_SECONDS", "60")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    with temporary_directory() as here:
        log = here / "server.log"
        # Bad tokens without end may be part of it.
        with serving(
            f"sqlite:///{here}/db.sqlite3", log=log, LOG_DELIVERIES="on", THROTTLE_FAILURES=""
        ) as server:
            command = [
                str(SCHEMATHESIS), "run", f"{server.url}/api/v1/openapi.json", *OPTIONS,
                "--header", f"Authorization: Bearer {server.token}", "--max-time", seconds,
                "--report-json-path", str(REPORT), *sys.argv[1:],
            ]  # fmt: skip
            code = subprocess.run(command, cwd=here, check=False).returncode
        counts = answers(log)
    print("Answers:", ", ".join(f"{status}: {number}" for status, number in sorted(counts.items())))
    if code:
        seed = json.loads(REPORT.read_text())["seed"] if REPORT.exists() else "N"
        sys.exit(
            f"Findings, kept in {REPORT.relative_to(ROOT)}. To run it again:\n"
            f"    .venv/bin/python -m fuzz.api --seed {seed}"
        )
    if not counts[200]:
        sys.exit("No delivery was accepted: the run says nothing.")


if __name__ == "__main__":
    main()
