"""What a host's type checker knows of the app: the types themselves, and never ``Any``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts.environments import python_with, run

CODE = """
from datetime import datetime

from sartiq.tasks.auth.clients import create_compute_client
from sartiq.tasks.models import Task, TaskStatusEvent

from typing_extensions import assert_type


def rows(task: Task, event: TaskStatusEvent) -> None:
    assert_type(task.task_id, str)
    assert_type(task.status, str | None)
    assert_type(task.meaning, str)
    assert_type(task.progress, float)
    assert_type(task.event_count, int)
    assert_type(task.last_event_at, datetime)
    assert_type(task.completed_at, datetime | None)
    assert_type(task.last_event, TaskStatusEvent)
    assert_type(task.last_event_id, int)
    assert_type(event.id, int)
    assert_type(event.task, Task)
    assert_type(event.task_id, str)
    assert_type(event.deliveries, int)
    assert_type(event.timestamp, datetime | None)
    assert_type(event.idempotency_key, bytes)


def clients() -> None:
    client, secret = create_compute_client("my-cluster")
    assert_type(client.client_id, str)
    assert_type(secret, str)
"""
READS = """

def reads(task: Task) -> None:
    for one in Task.objects.search("task-"):
        assert_type(one, Task)
    for last in task.events.order_by("-id")[:3]:
        assert_type(last, TaskStatusEvent)
    assert_type(Task.objects.search("a").filter(progress=1).first(), Task | None)
    assert_type(Task.objects.get(pk="a"), Task)
    assert_type(task.events.filter(status="failed").last(), TaskStatusEvent | None)
"""
WRONG = """

def wrong(task: Task) -> None:
    task.progress + "a"
    task.status.upper()
    task.events.no_such_method()
    Task.objects.search(5)
    create_compute_client("a")[0].no_such_attribute
"""
SETTINGS = """
SECRET_KEY = "a"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "oauth2_provider", "sartiq.tasks",
]
"""
PLUGIN = """
[tool.mypy]
plugins = ["mypy_django_plugin.main"]
[tool.django-stubs]
django_settings_module = "settings"
"""
BARE = ("typing_extensions", "mypy")
STUBS = (*BARE, "django-stubs", "djangorestframework-stubs")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "host.py").write_text(CODE + READS)
    (tmp_path / "wrong.py").write_text(CODE + WRONG)
    (tmp_path / "settings.py").write_text(SETTINGS)
    return tmp_path


@pytest.mark.parametrize(
    ("requirements", "config"), [(STUBS, ""), (STUBS, PLUGIN)], ids=["without a plugin", "with its plugin"]
)
def test_mypy(host: Path, requirements: tuple[str, ...], config: str) -> None:
    (host / "pyproject.toml").write_text(config)
    python = python_with(*requirements)
    strict = (python, "-m", "mypy", "--strict")

    assert "Success" in run(*strict, "host.py", cwd=host)
    assert "Found 5 errors" in run(*strict, "wrong.py", cwd=host, fails=True)


def test_mypy_without_any_stubs(host: Path) -> None:
    (host / "host.py").write_text(CODE)
    python = python_with(*BARE)

    assert "Success" in run(python, "-m", "mypy", "--strict", "host.py", cwd=host)
    told = run(python, "-m", "mypy", "--strict", "wrong.py", cwd=host, fails=True)
    assert "Found 4 errors" in told  # Django's own methods are unknown


@pytest.mark.parametrize("requirements", [STUBS, BARE], ids=["with stubs", "without stubs"])
def test_pyright(host: Path, requirements: tuple[str, ...]) -> None:
    if requirements is BARE:
        (host / "host.py").write_text(CODE)
    python = python_with(*requirements, "pyright[nodejs]")

    assert "0 errors" in run(python, "-m", "pyright", "--pythonpath", python, "host.py", cwd=host)
    told = run(python, "-m", "pyright", "--pythonpath", python, "wrong.py", cwd=host, fails=True)
    assert ("5 errors" if requirements is STUBS else "4 errors") in told
