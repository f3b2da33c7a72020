"""``manage.py`` and ``make run`` where something is missing: one line and an exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT, free_port


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The project without what an earlier run left."""
    for name in ("scripts", "tasks", "sartiq_tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("manage.py", "Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(checkout: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing in the environment but ``environment``."""
    return subprocess.run(
        command, cwd=checkout, env={"PATH": os.environ["PATH"], **environment},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "words"),
    [(("manage.py", "migrate"), "manage.py: "), (("scripts/run.py",), "The database of DATABASE_URL")],
)
def test_a_database_that_cannot_be_reached_is_one_line(
    checkout: Path, command: tuple[str, ...], words: str
) -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    port = str(free_port())

    done = run(checkout, sys.executable, *command, DATABASE_URL=url, SECRET_KEY="x" * 50, PORT=port)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(words)
    assert "refused" in line


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "postgres://"])
@pytest.mark.parametrize("command", ["manage.py", "scripts/run.py"])
def test_no_url_of_a_database_is_one_line(checkout: Path, command: str, url: str) -> None:
    arguments = ["check"] if command == "manage.py" else []
    port = str(free_port())

    done = run(
        checkout, sys.executable, command, *arguments, DATABASE_URL=url, SECRET_KEY="x" * 50, PORT=port
    )

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "DATABASE_URL is not the URL of a database" in line


def test_without_a_secret_key_it_says_what_to_set(checkout: Path) -> None:
    done = run(checkout, sys.executable, "manage.py", "check")

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "Set the SECRET_KEY environment variable" in line


def test_without_a_secret_key_it_uses_that_of_make_run(checkout: Path) -> None:
    (checkout / "local").mkdir()
    (checkout / "local" / "run.json").write_text(json.dumps({"secret_key": "kept" * 20}))
    show = (
        "manage.py",
        "shell",
        "-v",
        "0",
        "-c",
        "from django.conf import settings as s; print(s.SECRET_KEY)",
    )

    done = run(checkout, sys.executable, *show)

    assert (done.returncode, done.stdout) == (0, "kept" * 20 + "\n"), done.stderr
    assert "local/run.json" in done.stderr


def test_other_settings_are_left_alone(checkout: Path) -> None:
    (checkout / "local").mkdir()
    (checkout / "local" / "run.json").write_text(json.dumps({"secret_key": "kept" * 20}))
    (checkout / "own.py").write_text("SECRET_KEY = 'own'\n")

    done = run(checkout, sys.executable, "manage.py", "check", "--settings", "own")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("has_broken_environment", [False, True])
def test_a_python_that_is_too_old_is_one_line(checkout: Path, has_broken_environment: bool) -> None:
    old = checkout / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    if has_broken_environment:
        broken = checkout / ".venv" / "bin" / "python"
        broken.parent.mkdir(parents=True)
        broken.symlink_to("/nowhere/python")

    done = run(checkout, "make", "run", f"PYTHON={old}")

    assert done.returncode != 0
    first, *others = done.stderr.splitlines()
    assert "is missing or older than Python 3.11" in first
    assert len(others) <= 1  # make's own word
