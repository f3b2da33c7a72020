"""Play a cluster against the server of ``make run``: ``make demo``.

What follows goes to ``manage.py simulate_compute``, such as ``--tasks 500 --rate 100``.
"""

from __future__ import annotations

import os
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import SystemRandom
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sartiq_tasks.local import Kept

DEFAULTS = [
    "--tasks", "60", "--rate", "20", "--duplicate", "--shuffle", "--late", "--malformed", "0.02",
    "--lose", "0.1",
]  # fmt: skip


def main() -> None:
    """Run the command with the client that ``make run`` made, and say how to run the same again."""
    kept = Kept()
    database = kept.of_database(kept.use())
    if "client_id" not in database:
        sys.exit("`make run` has made no client in this database. Start it first, in another terminal.")
    url = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
    print(f"Watch {url}/admin/sartiq_tasks/task/ meanwhile; `make run` has printed the login.", flush=True)
    client = ["--client-id", database["client_id"], "--client-secret", database["client_secret"]]
    story = _story(sys.argv[1:])

    import django

    django.setup()
    from tasks.management.commands.simulate_compute import Command

    command = Command()
    command.run_from_argv(["manage.py", "simulate_compute", "--url", url, *client, *DEFAULTS, *story])
    _find_lost_endings(command.last_updates)
    changed = f"PORT={os.environ['PORT']} " if "PORT" in os.environ else ""
    print(f"The same again:\n{changed}make demo ARGS={shlex.quote(shlex.join(story))}")


def _find_lost_endings(last_updates: Mapping[str, Any]) -> None:
    """Have the watchdog ask the cluster about every task that runs, as it does after ``SILENT_AFTER``."""
    from django.conf import settings

    from tasks.simulation.cluster import serving
    from tasks.watchdog import Gone
    from tasks.watchdog.http import ask_over_http
    from tasks.watchdog.looking import look

    def ask(tasks: Any) -> list[Any]:
        # This cluster does not know the tasks of an earlier run.
        return [one for one in ask_over_http(tasks) if not isinstance(one, Gone)]

    with serving(last_updates) as url:
        now = {"SILENT_AFTER": timedelta(), "QUEUED_AFTER": timedelta(), "PROBE": ask, "PROBE_URL": url}
        settings.SARTIQ_TASKS = {**settings.SARTIQ_TASKS, **now}
        answers = look().answers
    print(
        f"The watchdog asked the cluster about the tasks that run: {answers['alive']} do, and "
        f"{answers['report']} had ended. Those endings were lost, and are stored now."
    )


def _story(arguments: list[str]) -> list[str]:
    """Return ``arguments`` with the seed and the end of the time that they leave open."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--seed", default=str(SystemRandom().randrange(1_000_000)))
    parser.add_argument("--until", default=datetime.now(UTC).isoformat(timespec="seconds"))
    given, others = parser.parse_known_args(arguments)
    return [*others, "--seed", given.seed, "--until", given.until]


if __name__ == "__main__":
    main()
