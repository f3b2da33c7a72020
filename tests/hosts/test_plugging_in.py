"""docs/plugging-in.md, followed word for word in backends of their own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import requests

from tests.hosts.environments import (
    ROOT,
    Host,
    database_extras,
    deliver,
    logged_in,
    new_database,
    new_project,
    once,
    python_with,
)

PAGE = (ROOT / "docs" / "plugging-in.md").read_text()
STEPS = re.compile(r"^( *)```python\n(.*?)^\1```|^ {4,7}(\S[^\n]*)$", flags=re.DOTALL | re.MULTILINE)
FILES = {"settings.py": "backend/settings.py", "urls.py": "backend/urls.py"}
USERS = """
import json
from django.contrib.auth.models import Permission, User
with_it, without_it = (User.objects.create_user(name, password="a") for name in ("ada", "bob"))
with_it.user_permissions.add(Permission.objects.get(codename="add_taskstatusevent"))
"""
OUR_ADMINS = (
    "from django.contrib.admin import site\n"
    "print(*(m._meta.model_name for m in site._registry if m._meta.app_label == 'sartiq_tasks'))"
)
EVENTS = (
    "from sartiq.tasks.models import TaskStatusEvent\n"
    "print(*TaskStatusEvent.objects.values_list('source', 'deliveries'))"
)


def blocks(title: str) -> list[tuple[str, str]]:
    """Return each block of code under a heading, with the file that its first line names."""
    found = [dedent(code) for _, code, _ in STEPS.findall(section(title)) if code]
    return [(code.partition("\n")[0].removeprefix("# "), code) for code in found]


def commands(title: str) -> list[str]:
    """Return each command under a heading."""
    return [command for _, _, command in STEPS.findall(section(title)) if command]


def section(title: str) -> str:
    found = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def write(host: Host, *found: tuple[str, str]) -> None:
    for file, code in found:
        path = FILES.get(file, file)
        host.write(path, f"\n{code}", append=path in FILES.values())


def manage(host: Host, *lines: str) -> list[str]:
    prefix = "python manage.py "
    ours = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    assert ours
    return [host.manage(*line.split(), options=("-W", "error")) for line in ours]


def new_host(directory: Path, database: dict[str, Any], *requirements: str) -> Host:
    return new_project(directory, python_with(*requirements, extras=database_extras()), database=database)


def plug_in(host: Host) -> str:
    """Follow "The lines" and return the token."""
    write(host, *blocks("The lines"))
    checked, _, made = manage(host, *commands("The lines"))
    assert "no issues" in checked
    return re.findall(r"access_token: (\S+)", made)[0]


def test_the_lines_then_tests_removal_and_installation_again(
    tmp_path: Path, host_database: dict[str, Any]
) -> None:
    host = new_host(tmp_path, host_database)
    originals = {path: (host.directory / path).read_text() for path in FILES.values()}
    token = plug_in(host)
    write(host, *blocks("Your tests"))
    assert "OK" in host.manage("test", "backend", options=("-W", "error"))
    with host.serving() as url:
        assert deliver(url, token).status_code == 200

    plan, to_zero, stale = commands("Upgrade and removal")[:3]
    manage(host, plan, to_zero)
    for path, text in originals.items():
        host.write(path, text)
    manage(host, stale)
    assert "no issues" in host.manage("check")
    host.manage("migrate")
    left = "from django.db import connection; print(connection.introspection.table_names())"
    assert "sartiq" not in host.shell(left)
    assert "sartiq" not in host.shell(
        "from django.contrib.auth.models import Permission as P; print(list(P.objects.all()))"
    )

    write(host, *blocks("The lines"))
    manage(host, "python manage.py check", "python manage.py migrate")
    again = host.create_client("another")["access_token"]
    with host.serving() as url:
        assert (deliver(url, again).json()["duplicate"], deliver(url, token).status_code) == (False, 200)
    assert host.shell(EVENTS) == "('another', 2)\n"


@once  # test_rest_framework.py tries it on both
def test_jwt(tmp_path: Path, host_database: dict[str, Any]) -> None:
    host = new_host(tmp_path, host_database, "djangorestframework-simplejwt")
    of_client = plug_in(host)
    write(host, blocks("Other authentication")[0])
    assert "no issues" in host.manage("check")
    tokens = json.loads(
        host.shell(
            f"{USERS}\nfrom rest_framework_simplejwt.tokens import AccessToken as T\n"
            "print(json.dumps([str(T.for_user(user)) for user in (with_it, without_it)]))"
        )
    )
    with host.serving() as url:
        answers = [deliver(url, token) for token in (*tokens, f"{tokens[0]}x", "bad", of_client)]
    assert [answer.status_code for answer in answers] == [200, 403, 401, 401, 401]
    assert host.shell(EVENTS) == "('ada', 1)\n"


@once
def test_tokens_of_rest_framework_beside_those_of_clients(
    tmp_path: Path, host_database: dict[str, Any]
) -> None:
    host = new_host(tmp_path, host_database)
    has_them = "\nINSTALLED_APPS = (*INSTALLED_APPS, 'rest_framework', 'rest_framework.authtoken')\n"
    host.write("backend/settings.py", has_them, append=True)
    of_client = plug_in(host)
    write(host, blocks("Other authentication")[1])
    host.manage("migrate")
    tokens = json.loads(
        host.shell(
            f"{USERS}\nfrom rest_framework.authtoken.models import Token as T\n"
            "print(json.dumps([T.objects.create(user=user).key for user in (with_it, without_it)]))"
        )
    )
    headers = [f"Token {tokens[0]}", f"Token {tokens[1]}", "Token bad", f"Bearer {of_client}", "Bearer bad"]
    with host.serving() as url:
        answers = [deliver(url, "", authorization=header) for header in headers]
    assert [answer.status_code for answer in answers] == [200, 403, 401, 200, 401]
    assert host.shell(EVENTS) == "('ada', 2)\n"


def test_two_databases(tmp_path: Path, host_database: dict[str, Any]) -> None:
    (tmp_path / "events").mkdir()
    with new_database(tmp_path / "events") as events:
        host = new_host(tmp_path, host_database)
        host.write("backend/settings.py", f"\nDATABASES['events'] = {events!r}\n", append=True)
        write(host, *blocks("Several databases"), *blocks("The lines"))
        manage(host, *commands("Several databases"))
        token = host.create_client()["access_token"]
        host.create_superuser()
        with host.serving() as url:
            answers = [deliver(url, token) for _ in range(3)]
            wrong = deliver(url, token, progress=101)
            staff = logged_in(url)
            assert "task-1" in staff.get(f"{url}/admin/sartiq_tasks/task/", timeout=60).text
        assert [answer.json()["duplicate"] for answer in answers] == [False, True, True]
        assert wrong.status_code == 422
        where = (
            "from django.db import connections\n"
            "for alias in ('default', 'events'):\n"
            "    names = connections[alias].introspection.table_names()\n"
            "    print(sum(n.startswith('sartiq_tasks_') for n in names), 'auth_user' in names)"
        )
        default, ledger = host.shell(where).splitlines()
        assert (default, ledger.split()[1]) == ("0 True", "False")
        assert int(ledger.split()[0]) >= 3
        manage(host, "python manage.py check --database events --database default")


@once  # so does test_asgi.py
def test_asgi(tmp_path: Path, host_database: dict[str, Any]) -> None:
    host = new_host(tmp_path, host_database, "uvicorn")
    token = plug_in(host)
    host.create_superuser()
    (line,) = commands("ASGI")
    with host.serving("-m", *line.replace("8000", "{port}").split()) as url:
        answers = [deliver(url, token) for _ in range(2)]
        assert deliver(url, "bad").status_code == 401
        staff = logged_in(url)
        assert "task-1" in staff.get(f"{url}/admin/sartiq_tasks/task/", timeout=60).text
        assert requests.get(f"{url}/api/v1/docs", timeout=60).status_code == 200
    assert [answer.json()["duplicate"] for answer in answers] == [False, True]


@once
def test_an_admin_site_of_its_own(tmp_path: Path, host_database: dict[str, Any]) -> None:
    host = new_host(tmp_path, host_database)
    plug_in(host)
    write(host, *blocks("Admin themes"))
    site = "\nfrom .admin import your_site\nurlpatterns = [path('admin/', your_site.urls)]\n"
    host.write("backend/urls.py", site, append=True)
    host.create_superuser()
    with host.serving() as url:
        staff = logged_in(url)
        names = host.shell(OUR_ADMINS).split()
        statuses = {
            name: staff.get(f"{url}/admin/sartiq_tasks/{name}/", timeout=60).status_code for name in names
        }
    assert {"task", "taskstatusevent", "rejecteddelivery", "reaction", "handler", "overview"} <= set(names)
    assert set(statuses.values()) == {200}


@once
@pytest.mark.parametrize("own", ["sartiq.py", "sartiq/__init__.py"])
def test_modules_that_hide_it(tmp_path: Path, host_database: dict[str, Any], own: str) -> None:
    host = new_host(tmp_path, host_database)
    write(host, *blocks("The lines"))
    host.write("tasks.py", "")
    assert "no issues" in host.manage("check")
    host.write(own, "")
    assert "No module named 'sartiq.tasks'" in host.manage("check", status=1)


@once
@pytest.mark.parametrize("templates", ["TEMPLATES[0]['OPTIONS'] = {}", "TEMPLATES = []"])
def test_an_api_without_the_admin(tmp_path: Path, host_database: dict[str, Any], templates: str) -> None:
    host = new_host(tmp_path, host_database)
    settings = (
        "INSTALLED_APPS = [f'django.contrib.{name}' for name in ('auth', 'contenttypes', 'staticfiles')]\n"
        f"INSTALLED_APPS += ['backend']\nMIDDLEWARE = []\n{templates}\n"
    )
    host.write("backend/settings.py", f"\n{settings}", append=True)
    host.write("backend/urls.py", "from django.urls import path\nurlpatterns = []\n")
    write(host, *blocks("The lines"), *blocks("Your tests"))
    host.write(
        "backend/task_handlers.py",
        "from sartiq.tasks.handlers import on_change\n\n"
        "@on_change(to='failed')\ndef tell(change):\n    print(f'told of {change.task_id}')\n",
    )
    host.manage("migrate", options=("-W", "error"))
    token = host.create_client()["access_token"]
    with host.serving() as url:
        assert deliver(url, token, task_id="t1", status="failed").status_code == 200
        for page in ("openapi.json", "docs"):
            assert requests.get(f"{url}/api/v1/{page}", timeout=60).status_code == 200
    assert "told of t1" in host.manage("run_handlers", "--once")
    assert "OK" in host.manage("test", "backend", options=("-W", "error"))
