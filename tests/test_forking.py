"""A copy does what a new process of the same Python would do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from coverage.config import CoverageConfig

from tests.coverage import CONFIGURATION
from tests.forking import run_forked

TELLING = """
import os, sys, warnings
print(__name__, sys.argv, sys.path[0], os.getcwd(), sys.warnoptions)
print(os.environ["OF_THE_TEST"], "HOME" in os.environ)
print("tasks" in sys.modules, "django.conf" in sys.modules and sys.modules["django.conf"].settings.configured)
print(repr(sys.stdin.read()), flush=True)
print("on the other stream", file=sys.stderr, flush=True)
try:
    warnings.warn("an old way", DeprecationWarning)
except DeprecationWarning as error:
    print(repr(error))
sys.exit(3)
"""
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "OF_THE_TEST": "a"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("telling.py", "a b"),
        ("-W", "error", "telling.py"),
        ("-m", "telling"),
        ("-W", "error", "-m", "telling", "c"),
    ],
)
def test_it_is_told_the_same_and_tells_the_same(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "telling.py").write_text(TELLING)

    copied = run_forked(sys.executable, *arguments, cwd=tmp_path, env=ENVIRONMENT)

    new = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (copied.stdout, copied.stderr) == (new.stdout, new.stderr)
    assert copied.returncode == new.returncode == 3


def test_coverage_counts_what_it_runs(tmp_path: Path) -> None:
    # No Coverage of its own: to make one stops this process, if it counts, from saving what it has counted.
    counting = CoverageConfig()
    counting.data_file, counting.parallel = str(tmp_path / "counted"), True
    variables = {**ENVIRONMENT, CONFIGURATION: counting.serialize()}

    run = run_forked(sys.executable, "-c", "print(1)", cwd=tmp_path, env=variables, is_counted=True)

    assert (run.stdout, run.stderr) == ("1\n", "")
    assert list(tmp_path.glob("counted*"))


@pytest.mark.parametrize(
    ("code", "status", "printed", "last_line"),
    [
        ("", 0, "", []),
        ("import sys; print(sys.argv)", 0, "['-c', 'a b']\n", []),
        ("import atexit; atexit.register(print, 'at the exit')", 0, "at the exit\n", []),
        ("import os; os._exit(7)", 7, "", []),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, "", []),
        ("1 / 0", 1, "", ["ZeroDivisionError: division by zero"]),
    ],
)
def test_it_ends_as_the_program_does(
    tmp_path: Path, code: str, status: int, printed: str, last_line: list[str]
) -> None:
    ended = run_forked(sys.executable, "-c", code, "a b", cwd=tmp_path, env=ENVIRONMENT)

    assert (ended.returncode, ended.stdout, ended.stderr.splitlines()[-1:]) == (status, printed, last_line)


def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    sleep = "import time; time.sleep(600)"

    ended = run_forked(sys.executable, "-c", sleep, cwd=tmp_path, env=ENVIRONMENT, timeout=1)

    assert ended.returncode == -signal.SIGALRM
