"""The pytest plugin works for a host that asks for it, and costs others nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def modules(code: str) -> set[str]:
    """Return what a new process has imported after ``code``."""
    setup = "import os, sys\nos.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{setup}{code}\nprint(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return set(done.stdout.split())


def test_production_imports_none_of_it() -> None:
    found = modules(
        "from sartiq_tasks.wsgi import application\n"
        "from tasks import urls\n"
        "from django.core.management import call_command\n"
        "call_command('check')\n"
        "from tasks.management.commands import run_handlers\n"
    )

    assert "tasks.handlers.worker" in found
    assert {
        name for name in found if name.startswith(("tasks.testing", "tasks.simulation", "pytest"))
    } == set()
