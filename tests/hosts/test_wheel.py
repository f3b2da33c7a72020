"""The wheel, in a backend that has a package, an app and a label ``tasks`` of its own."""

from __future__ import annotations

import json
import re
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.hosts.environments import (
    ROOT,
    UV,
    Host,
    database_extras,
    deliver,
    logged_in,
    new_project,
    once,
    python_with,
    run,
    wheel,
)

#: Import each module, and say which of them need something that the wheel does not bring along.
EVERY_MODULE = """
import json, pkgutil, sys
import sartiq.tasks
needs = {}
for module in pkgutil.walk_packages(sartiq.tasks.__path__, "sartiq.tasks."):
    try:
        __import__(module.name)
    except ModuleNotFoundError as error:
        needs[module.name.removeprefix("sartiq.tasks.")] = error.name
import tasks
print(json.dumps([needs, sorted(name for name in sys.modules if name.partition(".")[0] == "tasks")]))
"""
#: A plugin for pytest, which nobody needs who tests with unittest.
NEEDS = {"testing.fixtures": "pytest"}
#: A top-level module as Celery's tutorial has it: the name ``tasks``, and a reference by that name.
CELERY_TASKS = '''
"""Work for the queue."""


def shared_task(function):
    return function


@shared_task
def add(x, y):
    return x + y
'''
OWN_MODELS = """
from django.db import models
from sartiq.tasks.models import Task as ComputeTask


class Task(models.Model):
    title = models.CharField(max_length=100)

    @property
    def compute(self):
        return ComputeTask.objects.get(pk=self.title)
"""


def plugged_in(directory: Path, database: dict[str, Any], *requirements: str) -> Host:
    host = new_project(directory, python_with(*requirements, extras=database_extras()), database=database)
    apps = "'rest_framework', 'oauth2_provider', 'drf_spectacular', 'drf_spectacular_sidecar', 'sartiq.tasks'"
    host.write("backend/settings.py", f"\nINSTALLED_APPS += [{apps}]\n", append=True)
    scopes = {"SCOPES": {"tasks:webhook": "Post"}, "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True}
    host.write("backend/settings.py", f"\nOAUTH2_PROVIDER = {scopes!r}\n", append=True)
    urls = "\nfrom django.urls import include\n"
    urls += "urlpatterns = [path('api/v1/', include('sartiq.tasks.urls')), *urlpatterns]\n"
    host.write("backend/urls.py", urls, append=True)
    return host


@pytest.fixture
def host(tmp_path: Path, host_database: dict[str, Any]) -> Host:
    return plugged_in(tmp_path, host_database)


def with_own_app(host: Host) -> None:
    host.write("backend/settings.py", "\nINSTALLED_APPS += ['tasks']\n", append=True)
    host.write("tasks/__init__.py", "")
    host.write("tasks/models.py", OWN_MODELS)
    host.write(
        "tasks/admin.py",
        "from django.contrib import admin\nfrom .models import Task\nadmin.site.register(Task)\n",
    )
    host.write("tasks/signals.py", "raise AssertionError('nobody imports it')\n")
    host.manage("makemigrations", "tasks")


def with_celery_module(host: Host) -> None:
    host.write("tasks.py", CELERY_TASKS)


def with_another_distribution_of_sartiq(host: Host) -> None:
    host.write("sartiq/billing/__init__.py", "")
    host.write("tasks.py", "from sartiq import billing\n")


@pytest.mark.parametrize(
    "add",
    [
        with_own_app,
        pytest.param(with_celery_module, marks=once),
        pytest.param(with_another_distribution_of_sartiq, marks=once),
    ],
)
def test_beside_what_is_named_tasks_already(host: Host, add: Any) -> None:
    add(host)

    host.manage("migrate", options=("-W", "error"))
    assert "no issues" in host.manage("check", options=("-W", "error"))
    assert "No changes" in host.manage("makemigrations", "--check", "--dry-run")
    needs, modules = json.loads(host.shell(EVERY_MODULE))
    assert needs == NEEDS
    assert "tasks.wire" not in modules
    client = host.create_client()
    host.create_superuser()
    with host.serving() as url:
        answer = deliver(url, client["access_token"])
        assert (answer.status_code, answer.json()["duplicate"]) == (200, False)
        staff = logged_in(url)
        index = staff.get(f"{url}/admin/", timeout=60)
        assert "/admin/sartiq_tasks/task/" in index.text
        assert ("/admin/tasks/task/" in index.text) == (add is with_own_app)
        assert "task-1" in staff.get(f"{url}/admin/sartiq_tasks/task/", timeout=60).text
    assert "task-1" in host.shell(
        "from sartiq.tasks.models import Task; print(Task.objects.get().pk, Task.__module__)"
    )


@once
def test_what_is_in_it() -> None:
    names = set(zipfile.ZipFile(wheel()).namelist())

    source = {path.relative_to(ROOT / "tasks") for path in (ROOT / "tasks").rglob("*") if path.is_file()}
    wanted = {f"sartiq/tasks/{path}" for path in source if path.suffix != ".pyc"}
    assert {name for name in names if ".dist-info/" not in name} == wanted
    assert "sartiq/__init__.py" not in names
    assert "sartiq/tasks/py.typed" in names


@once
def test_the_source_distribution_makes_the_same_wheel(tmp_path: Path) -> None:
    run(UV, "build", "--quiet", "--sdist", "--out-dir", str(tmp_path), cwd=ROOT)
    (sdist,) = tmp_path.glob("*.tar.gz")
    run(UV, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(sdist), cwd=tmp_path)
    (again,) = tmp_path.glob("*.whl")

    assert again.read_bytes() == wheel().read_bytes()


@once
def test_what_it_brings_along_is_what_a_receiver_needs(host: Host) -> None:
    host.manage("migrate")

    assert host.manage("rebuild_tasks") == "0 tasks, 0 differed and were mended.\n"
    assert "0 events deleted" in host.manage("prune_task_events", "--older-than", "1d")
    host.shell("from importlib.util import find_spec; assert not find_spec('tqdm')")


SITE = """
from django.contrib import admin
from django.contrib.admin.sites import AdminSite
registers = dict.fromkeys(("_registry", "_actions", "_global_actions"))
print(vars(AdminSite()) | registers == vars(admin.site._wrapped) | registers)
"""


@once
def test_the_admin_site_of_the_host_is_as_it_was(host: Host) -> None:
    assert host.shell(SITE) == "True\n"


@pytest.mark.parametrize("name", ["oldest", "newest"])
def test_the_oldest_and_newest_versions_that_it_asks_for(
    tmp_path: Path, host_database: dict[str, Any], name: str
) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounds = [re.match(r"([\w\[\]-]+)>=([\d.]+),<", line).groups() for line in declared]  # type: ignore[union-attr]
    oldest = [f"{package}=={version}" for package, version in bounds]
    newest = [package for package, _ in bounds if package != "django"]
    requirements = oldest if name == "oldest" else newest
    host = plugged_in(tmp_path, host_database, *requirements)

    assert "no issues" in host.manage("check", options=("-W", "error"))
    host.manage("migrate")
    client = host.create_client()
    with host.serving() as url:
        answer = deliver(url, client["access_token"])
        assert (answer.status_code, answer.json()["duplicate"]) == (200, False)
        assert requests.get(f"{url}/api/v1/openapi.json", timeout=60).json()["openapi"] == "3.1.0"
        assert requests.get(f"{url}/api/v1/docs", timeout=60).status_code == 200
