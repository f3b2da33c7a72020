"""Fuzz the served API by its OpenAPI document (Schemathesis): ``python -m fuzz.api [OPTION ...]``.

Runs for ``FUZZ_SECONDS`` against the project as it is deployed, on SQLite in a temporary
directory. Options go to ``schemathesis run``: ``--seed N`` repeats a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from harness.environment import ROOT
from harness.servers import serving, temporary_directory

SCHEMATHESIS = ROOT / ".venv-fuzz" / "bin" / "schemathesis"
#: What a run leaves: the requests that found something, as tests in Python.
REPORT = ROOT / "local" / "fuzz" / "test_api.py"
OPTIONS = (
    # The examples and stateful phases have nothing to do: the document has neither examples nor links.
    "--phases", "coverage,fuzzing",
    # None is switched off; fuzz/hooks.py keeps from one what it cannot know.
    "--checks", "all",
    "--no-color",
)  # fmt: skip


def answers(log: Path) -> Counter[int]:
    """Return the number of deliveries by status, as the server's ``log`` has them."""
    lines = (line for line in log.read_text().splitlines() if line.startswith("{"))
    records = (json.loads(line) for line in lines)
    return Counter(record["status"] for record in records if record["logger"] == "sartiq_tasks.deliveries")


def main() -> None:
    """Run until the time is over; the exit code is zero if nothing was found."""
    seconds = os.environ.get("FUZZ_SECONDS", "60")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.unlink(missing_ok=True)
    with temporary_directory() as here:
        log = here / "server.log"
        # Bad tokens and requests for tokens without end may be part of it.
        with serving(
            f"sqlite:///{here}/db.sqlite3",
            log=log,
            LOG_DELIVERIES="on",
            THROTTLE_FAILURES="",
            THROTTLE_TOKEN_REQUESTS="",
        ) as server:
            command = [
                str(SCHEMATHESIS), "run", f"{server.url}/api/v1/openapi.json", *OPTIONS,
                "--header", f"Authorization: Bearer {server.token}", "--max-time", seconds,
                "--report-pytest-path", str(REPORT), *sys.argv[1:],
            ]  # fmt: skip
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "fuzz.hooks"}
            code = subprocess.run(command, cwd=here, env=environment, check=False).returncode
        counts = answers(log)
    print("Answers:", ", ".join(f"{status}: {number}" for status, number in sorted(counts.items())))
    if code:
        sys.exit(
            f"The requests that found something are kept in {REPORT.relative_to(ROOT)}. To run all again:\n"
            "    .venv/bin/python -m fuzz.api --seed N    # with the N that is told above"
        )
    if not counts[200]:
        sys.exit("No delivery was accepted: the run says nothing.")


if __name__ == "__main__":
    main()
