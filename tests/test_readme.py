"""What the README promises, done as a stranger would do it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
import requests
from django.db import connection

from tasks.signals import event_recorded
from tests.factories import full_body, record
from tests.servers import free_port, serving_command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    """Return the text under a heading of the README."""
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def code_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def environment() -> dict[str, str]:
    """Return a stranger's environment: nothing of this test run's."""
    ours = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "PYTHONPATH", "SECRET_KEY", "VIRTUAL_ENV")
    theirs = {name: value for name, value in os.environ.items() if name not in ours}
    return theirs | {"UV_SYSTEM_CERTS": "1"}


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    """A new, empty database on the server of this run, as a line of settings."""
    if connection.vendor == "sqlite":
        settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{tmp_path}/db"}
        yield f"DATABASES = {{'default': {settings!r}}}"
        return
    import psycopg

    parameters = connection.get_connection_params()
    where = {key: parameters[key] for key in ("host", "port", "user", "password") if parameters.get(key)}
    name = f"plugged_in_{os.getpid()}"
    with psycopg.connect(dbname="postgres", autocommit=True, **where) as server:
        server.execute(f"CREATE DATABASE {name}")
        settings = {"ENGINE": "django.db.backends.postgresql", "NAME": name}
        settings |= {key.upper(): str(value) for key, value in where.items()}
        yield f"DATABASES = {{'default': {settings!r}}}"
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_plugging_the_wheel_into_a_new_project(tmp_path: Path, database: str) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    run(uv, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), cwd=ROOT)
    (wheel,) = tmp_path.glob("sartiq_tasks-*.whl")
    run(uv, "venv", "--quiet", "--python", sys.executable, "env", cwd=tmp_path)
    python = str(tmp_path / "env" / "bin" / "python")
    extra = "[postgresql]" if "postgresql" in database else ""
    install = (f"{wheel}{extra}", f"django=={django.__version__}")
    run(uv, "pip", "install", "--quiet", "--python", python, *install, cwd=tmp_path)
    run(python, "-m", "django", "startproject", "backend", cwd=tmp_path)
    backend = tmp_path / "backend"

    settings, urls = code_blocks(section("Plug it into your backend"))
    assert len((settings + urls).splitlines()) <= 5
    for module, lines in (("settings", f"{settings}\n{database}"), ("urls", urls)):
        with (backend / "backend" / f"{module}.py").open("a") as file:
            file.write(f"\n{lines}\n")
    run(python, "-W", "error", "manage.py", "check", cwd=backend)
    run(python, "manage.py", "migrate", cwd=backend)
    run(python, "manage.py", "makemigrations", "--check", "--dry-run", cwd=backend)
    made = json.loads(
        run(python, "manage.py", "create_compute_client", "my-cluster", "--token", "--json", cwd=backend)
    )
    run(
        python,
        "manage.py",
        "shell",
        "-c",
        "from django.contrib.auth.models import User; User.objects.create_superuser('ada', password='pass')",
        cwd=backend,
    )

    url = f"http://127.0.0.1:{free_port()}"
    address = url.removeprefix("http://")
    command = (python, "manage.py", "runserver", "--noreload", address)
    with serving_command(*command, cwd=backend, env=environment(), url=url):
        headers = {"Authorization": f"Bearer {made['access_token']}"}
        answer = requests.post(f"{url}/api/v1/tasks/webhook", json=full_body(), headers=headers, timeout=30)
        assert (answer.status_code, answer.json()["duplicate"]) == (200, False)
        assert requests.get(f"{url}/api/v1/openapi.json", timeout=30).json()["openapi"] == "3.1.0"

        staff = requests.Session()
        login = f"{url}/admin/login/"
        staff.get(login, timeout=30)
        form = {"username": "ada", "password": "pass", "csrfmiddlewaretoken": staff.cookies["csrftoken"]}
        staff.post(login, form, timeout=30)
        event_page = staff.get(
            f"{url}/admin/sartiq_tasks/taskstatusevent/{answer.json()['id']}/change/", timeout=30
        )
        assert (event_page.status_code, "out of memory" in event_page.text) == (200, True)
        assert "task-1" in staff.get(f"{url}/admin/sartiq_tasks/task/", timeout=30).text


@pytest.mark.django_db(transaction=True)
def test_reacting_to_an_event(capsys: pytest.CaptureFixture[str]) -> None:

    (example,) = code_blocks(section("React to events"))
    namespace: dict[str, object] = {}
    exec(example, namespace)
    try:
        record(status="failed", error_message="out of memory")
        record(status="failed", error_message="out of memory")
    finally:
        event_recorded.disconnect(namespace["tell_the_owner"])

    assert capsys.readouterr().out == "task-1 failed: out of memory\n"


def test_every_file_that_it_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("command", re.findall(r"^    make (\S+)", README, flags=re.MULTILINE))
def test_every_make_command_exists(command: str) -> None:
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
