#!/usr/bin/env python
"""Django's command line, on the settings of the environment, or on those of ``make run`` if it has none."""

import os
import sys
from argparse import ArgumentParser

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError

from sartiq_tasks.local import FILE, Kept

OURS = "sartiq_tasks.settings"


def main() -> None:
    """Run a command; end with one line if the settings or the database do not let it run."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--settings", default=os.environ.get("DJANGO_SETTINGS_MODULE", OURS))
    settings = parser.parse_known_args()[0].settings
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", OURS)
    os.environ.setdefault("DB_STATEMENT_TIMEOUT_MS", "0")
    if settings == OURS and "SECRET_KEY" not in os.environ and FILE.exists():
        Kept().use()
        print("SECRET_KEY is not set: using what `make run` keeps in local/run.json.", file=sys.stderr)
    try:
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, OperationalError) as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"manage.py: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
