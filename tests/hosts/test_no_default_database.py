"""A host whose default database is empty, or of a kind that the app's statements are not written for."""

from __future__ import annotations

import os
import sys

from tests.forking import run_forked
from tests.hosts.environments import ROOT


def test_the_app_asks_its_own_database_alone() -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.hosts.apart_settings"}
    command = (sys.executable, "-m", "django", "test", "tests.hosts.apart_cases", "--no-input")

    done = run_forked(*command, cwd=ROOT, env=environment)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 3 tests" in done.stderr
