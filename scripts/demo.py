"""Play a cluster against the server of ``make run``: ``make demo``.

What follows goes to ``manage.py simulate_compute``, such as ``--tasks 500 --rate 100``.
"""

from __future__ import annotations

import os
import shlex
import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sartiq_tasks.local import Kept

DEFAULTS = ["--tasks", "60", "--rate", "20", "--duplicate", "--shuffle", "--late", "--malformed", "0.02"]


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

    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", "simulate_compute", "--url", url, *client, *DEFAULTS, *story])
    changed = f"PORT={os.environ['PORT']} " if "PORT" in os.environ else ""
    print(f"The same again:\n{changed}make demo ARGS={shlex.quote(shlex.join(story))}")


def _story(arguments: list[str]) -> list[str]:
    """Return ``arguments`` with the seed and the end of the time that they leave open."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--seed", default=str(SystemRandom().randrange(1_000_000)))
    parser.add_argument("--until", default=datetime.now(UTC).isoformat(timespec="seconds"))
    given, others = parser.parse_known_args(arguments)
    return [*others, "--seed", given.seed, "--until", given.until]


if __name__ == "__main__":
    main()
