"""docs/tutorial.md and docs/how-to-test.md, followed in a new project: every command and block is run."""

from __future__ import annotations

import json
import re
import shlex
import signal
import time
from pathlib import Path
from typing import Any

from tasks.testing import CRASH_POINTS
from tests.hosts.environments import database_extras, new_project, python_with, run, wheel
from tests.hosts.pages import commands, text_of, write_files

TUTORIAL, HOW_TO_TEST = text_of("docs/tutorial.md"), text_of("docs/how-to-test.md")
STEPS = re.split(r"^## ", TUTORIAL, flags=re.MULTILINE)[1:]


def arguments(command: str) -> list[str]:
    python, manage, *rest = shlex.split(command)
    assert (python, manage) == ("python", "manage.py")
    return rest


def test_the_tutorial(tmp_path: Path, host_database: dict[str, Any]) -> None:
    project, client, first_event, refund, kill, _ = STEPS
    *_venv, install, startproject, enter = commands(project)
    assert install == f"pip install {wheel().name}"
    assert (startproject, enter) == ("django-admin startproject backend", "cd backend")
    host = new_project(tmp_path, python_with(extras=database_extras()), database=host_database)
    write_files(host, project)

    check, first_migrate, create = map(arguments, commands(client))
    assert "no issues" in host.manage(*check, options=("-W", "error"))
    host.manage(*first_migrate)
    token = host.manage(*create).split()[-1]

    def post(url: str, command: str) -> dict[str, Any]:
        line = command.replace("TOKEN", token).replace("http://127.0.0.1:8000", url)
        answer: dict[str, Any] = json.loads(run("sh", "-c", line, cwd=tmp_path))
        return answer

    runserver, curl, shell = commands(first_event)
    assert arguments(runserver) == ["runserver"]
    with host.serving() as url:
        assert post(url, curl) == {"id": 1, "task_id": "task-1", "duplicate": False}
        assert post(url, curl) == {"id": 1, "task_id": "task-1", "duplicate": True}
    assert host.manage(*arguments(shell)).splitlines()[-1] == "42.0"

    startapp, makemigrations, migrate, ada, failing, work, show = commands(refund)
    host.manage(*arguments(startapp))
    write_files(host, refund)
    for command in (makemigrations, migrate, ada):
        host.manage(*arguments(command))

    def look() -> str:
        return host.manage(*arguments(show)).splitlines()[-1]

    with host.serving() as url:
        assert post(url, failing)["duplicate"] is False
        assert look() == "0"
        host.manage(*arguments(work), options=("-W", "error"))
        assert look() == "10"
        assert post(url, failing)["duplicate"] is True
    host.manage(*arguments(work))
    assert look() == "10"

    write_files(host, kill)
    failing, *called = commands(kill)
    assert called == [work, show] * 2
    with host.serving() as url:
        post(url, failing)
    host.manage(*arguments(work), status=-signal.SIGKILL)
    assert look() == "10"
    time.sleep(5)
    host.manage(*arguments(work))
    assert look() == "20"
    host.manage(*arguments(work))
    assert look() == "20"
    handlers = host.directory / "trainings" / "task_handlers.py"
    kept, lines = re.subn(r"    if change.attempt == 1:\n.*SIGKILL.*\n", "", handlers.read_text())
    assert lines == 1
    handlers.write_text(kept)

    with_django, with_pytest = HOW_TO_TEST.split("\n## With pytest\n")
    write_files(host, with_django)
    (test,) = commands(with_django)
    assert "Ran 6 tests" in host.manage(*arguments(test), options=("-W", "error"))

    write_files(host, with_pytest)
    install, test = commands(with_pytest)
    _pip, _install, requirement = install.split()
    python = python_with(requirement, extras=database_extras())
    passed = run(python, "-W", "error", *test.split()[1:], cwd=host.directory)
    assert f"{len(CRASH_POINTS) + 20} passed" in passed
