"""Measure what durable handlers cost and do: ``make bench-handlers``, on a PostgreSQL of its own."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version as version_of

from benchmarks.ingest.postgresql import PostgreSQL, postgresql
from benchmarks.machine import processor

PARTS = ("delivery", "waiting", "reactions", "start", "claim")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.handlers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of each contender (40)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="only these parts")
    given = parser.parse_args()
    with postgresql() as server:
        os.environ["DATABASE_URL"] = server.url("postgres")
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.handlers.settings"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", run_syncdb=True, verbosity=0)
        _measure(server, given.rounds, given.only)
        print(_machine(server))


def _measure(server: PostgreSQL, rounds: int, only: tuple[str, ...]) -> None:
    from . import delivery, working

    parts: dict[str, Callable[[PostgreSQL, delivery.Sender, int], str]] = {
        "delivery": delivery.processor,
        "waiting": delivery.while_reactions_wait,
        "reactions": working.reactions_a_second,
        "start": working.commit_to_start,
        "claim": working.claims,
    }
    sender = delivery.Sender()
    for name in only:
        print(parts[name](server, sender, rounds), flush=True)


def _machine(server: PostgreSQL) -> str:
    import django

    version = server.query("SHOW server_version")
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"\n{os.cpu_count()} cores of {processor()}, load {load}; "
        f"PostgreSQL {version}, Django {django.__version__}, Python {platform.python_version()}, "
        f"django-tasks-db {version_of('django-tasks-db')}."
    )


if __name__ == "__main__":
    sys.exit(main())
