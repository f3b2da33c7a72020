"""Nothing that runs while counting pauses is covered, in this process or in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import subprocess, sys
from tests.coverage import count_coverage
from tasks import before
count_coverage(False)
count_coverage(False)
from tasks import paused
subprocess.run([sys.executable, "-c", "from tasks import in_another"], check=True)
count_coverage(True)
count_coverage(True)
from tasks import after
subprocess.run([sys.executable, "-c", "from tasks import in_another_after"], check=True)
"""


def test_a_pause(tmp_path: Path) -> None:
    modules = ("before", "paused", "in_another", "after", "in_another_after")
    for package in ("tasks", "sartiq_tasks"):
        (tmp_path / package).mkdir()
    for name in ("__init__", *modules):
        (tmp_path / "tasks" / f"{name}.py").write_text("found = True\n")
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment |= {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    def run(*arguments: str) -> None:
        command = [sys.executable, "-m", "coverage", *arguments]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)

    run("run", f"--rcfile={ROOT / 'pyproject.toml'}", "program.py")
    run("combine", f"--rcfile={ROOT / 'pyproject.toml'}")
    run("json", f"--rcfile={ROOT / 'pyproject.toml'}", "--fail-under=0", "-o", "found.json")

    files = json.loads((tmp_path / "found.json").read_text())["files"]
    covered = {name for name in modules if files[f"tasks/{name}.py"]["summary"]["covered_lines"]}
    assert covered == {"before", "after", "in_another_after"}
