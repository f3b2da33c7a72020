"""``ATOMIC_REQUESTS`` on a ledger with a database of its own: every rejected delivery is kept there."""

from __future__ import annotations

import os
import sys

from tests.forking import run_forked
from tests.hosts.environments import ROOT


def test_every_rejecting_answer_in_each_kind_of_test_case() -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.hosts.atomic_settings"}
    command = (sys.executable, "-m", "django", "test", "tests.hosts.atomic_cases", "--no-input")

    done = run_forked(*command, cwd=ROOT, env=environment)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 9 tests" in done.stderr
