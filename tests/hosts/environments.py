"""Backends for the app to be plugged into, each in a Python environment of its own with the wheel in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import django
import pytest
import requests
from django.db import connection
from filelock import FileLock

from harness.servers import until_the_end
from tests.databases import place
from tests.factories import full_body
from tests.forking import run_forked, start_forked, uncounted
from tests.servers import free_port

ROOT = Path(__file__).parent.parent.parent
UV = str(Path(sys.executable).with_name("uv"))
PASSWORD = "a password for tests"
#: For a case whose outcome does not depend on the database: it runs in one of the suite's two runs.
once = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="it runs on SQLite: its outcome does not depend on the database"
)
#: The variables of this test run, which a stranger's environment does not have.
OURS = (
    "ALLOWED_HOSTS", "DATABASE_URL", "DEBUG", "DJANGO_SETTINGS_MODULE", "HTTPS", "PYTHONPATH", "SECRET_KEY",
    "STATIC_ROOT", "THROTTLE_FAILURES", "THROTTLE_TOKEN_REQUESTS", "VIRTUAL_ENV",
)  # fmt: skip


def clean_environment(**changes: str) -> dict[str, str]:
    """Return a stranger's environment variables: none of this test run's."""
    theirs = uncounted({name: value for name, value in os.environ.items() if name not in OURS})
    return {**theirs, "UV_SYSTEM_CERTS": "1", "PYTHONDONTWRITEBYTECODE": "1", **changes}


def run(*command: str, cwd: Path, fails: bool = False, **environment: str) -> str:
    """Run a command and return what it printed, on both streams; it must fail if ``fails``."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    assert (done.returncode != 0) == fails, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


@cache
def wheel() -> Path:
    """Return the app's wheel, built once for the sources as they are."""
    digest = hashlib.sha256()
    files = [ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    for path in (*files, *sorted((ROOT / "tasks").rglob("*"))):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    directory = place("wheels") / digest.hexdigest()[:12]
    with FileLock(f"{directory}.lock"):
        if not directory.exists():
            run(UV, "build", "--quiet", "--wheel", "--out-dir", f"{directory}.new", cwd=ROOT)
            Path(f"{directory}.new").rename(directory)
    (built,) = directory.glob("*.whl")
    return built


@cache
def python_with(*requirements: str, extras: tuple[str, ...] = ()) -> str:
    """Return the Python of an environment with the wheel and ``requirements`` in it.

    It has this run's Django unless a requirement names another. It is kept for the runs to come, which
    only replace a wheel that has changed.
    """
    more = bool(requirements)
    if not any(requirement.lower().startswith("django=") for requirement in requirements):
        requirements = (f"django=={django.__version__}", *requirements)
    wanted = (sys.version, requirements, extras, _declared())
    key = hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]
    directory = place("environments") / key
    python, installed = directory / "bin" / "python", directory / "wheel"
    with FileLock(f"{directory}.lock"):
        if not installed.exists() or installed.read_text() != str(wheel()):
            if not python.exists() and more:
                _copy_environment(Path(python_with(extras=extras)).parent.parent, directory)
            elif not python.exists():
                run(UV, "venv", "--quiet", "--python", sys.executable, str(directory), cwd=ROOT)
            app = f"sartiq-tasks[{','.join(extras)}] @ {wheel().as_uri()}"
            install = (UV, "pip", "install", "--quiet", "--reinstall-package", "sartiq-tasks")
            # Otherwise each process of a host compiles Django once more: 1.5 of the 2.6 seconds of a command.
            run(*install, "--compile-bytecode", "--python", str(python), app, *requirements, cwd=ROOT)
            installed.write_text(str(wheel()))
    return str(python)


def _copy_environment(base: Path, directory: Path) -> None:
    """Copy an environment with its compiled files, as links: uv replaces files, it never changes them."""
    new = directory.with_suffix(".new")
    for left in (new, directory):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(base, new, symlinks=True, copy_function=os.link)
    (new / "wheel").unlink()
    new.rename(directory)


def _declared() -> dict[str, Any]:
    """Return what the app requires: an environment that was made for other requirements is not used."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {name: project[name] for name in ("dependencies", "optional-dependencies")}


@dataclass(frozen=True)
class Host:
    """A backend in ``directory`` that has a ``manage.py``, run by ``python``."""

    directory: Path
    python: str

    def write(self, path: str, text: str, *, append: bool = False) -> None:
        """Write ``text`` to one of its files."""
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a" if append else "w") as opened:
            opened.write(text)

    def manage(
        self, *arguments: str, options: tuple[str, ...] = (), status: int = 0, **environment: str
    ) -> str:
        """Run ``manage.py`` and return what it printed; ``options`` are Python's own, such as ``-W``."""
        return self.run(*options, "manage.py", *arguments, status=status, **environment)

    def run(self, *arguments: str, status: int = 0, **environment: str) -> str:
        """Run ``python *arguments``, which must end with ``status``, and return what it printed."""
        done = run_forked(self.python, *arguments, cwd=self.directory, env=clean_environment(**environment))
        printed = done.stderr + done.stdout
        assert done.returncode == status, f"{' '.join(arguments)}\n{printed}"
        return printed

    def shell(self, code: str) -> str:
        """Run ``code`` in its shell and return what it printed."""
        return self.manage("shell", "--verbosity", "0", "--command", code)

    def create_client(self, name: str = "my-cluster") -> dict[str, str]:
        """Create a client and return its id, secret and token."""
        made: dict[str, str] = json.loads(self.manage("create_compute_client", name, "--json"))
        return made

    def create_superuser(self) -> None:
        """Create the superuser that ``logged_in`` logs in."""
        self.manage(
            "createsuperuser", "--no-input", "--username", "ada", "--email", "ada@example.org",
            DJANGO_SUPERUSER_PASSWORD=PASSWORD,
        )  # fmt: skip

    @contextmanager
    def serving(self, *command: str, log: Path | None = None) -> Iterator[str]:
        """Serve it until the end of the block and yield its URL; ``{port}`` in a command is the port."""
        port = str(free_port())
        command = command or ("manage.py", "runserver", "--noreload", "127.0.0.1:{port}")
        arguments = [part.replace("{port}", port) for part in command]
        url = f"http://127.0.0.1:{port}"
        output = log or os.devnull
        process = start_forked(
            self.python, *arguments, cwd=self.directory, env=clean_environment(), stdout=output, stderr=output
        )
        with until_the_end(process, url):
            yield url


def deliver(url: str, token: str, authorization: str = "", **changes: Any) -> requests.Response:
    """Post an event, changed by ``changes``, to the host at ``url``."""
    headers = {"Authorization": authorization or f"Bearer {token}"}
    webhook = f"{url}/api/v1/tasks/webhook"
    return requests.post(webhook, json=full_body() | changes, headers=headers, timeout=60)


def logged_in(url: str) -> requests.Session:
    """Return a session of the superuser in the admin of the host at ``url``."""
    staff = requests.Session()
    login = f"{url}/admin/login/"
    staff.get(login, timeout=60)
    form = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": staff.cookies["csrftoken"]}
    answer = staff.post(login, form, params={"next": "/admin/"}, headers={"Referer": login}, timeout=60)
    assert answer.url == f"{url}/admin/", answer.text
    return staff


def new_project(directory: Path, python: str, *, database: dict[str, Any] | None = None) -> Host:
    """Make what ``django-admin startproject`` makes, named ``backend``, on ``database``."""
    Host(directory, python).run("-m", "django", "startproject", "backend")
    host = Host(directory / "backend", python)
    if database:
        host.write("backend/settings.py", f"\nDATABASES = {{'default': {database!r}}}\n", append=True)
    return host


@contextmanager
def new_database(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield the settings of a new, empty database of the kind that the suite runs on."""
    if connection.vendor == "sqlite":
        yield {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{directory}/db.sqlite3"}
        return
    import psycopg

    parameters = connection.get_connection_params()
    where = {key: parameters[key] for key in ("host", "port", "user", "password") if parameters.get(key)}
    name = f"host_{os.getpid()}_{hashlib.sha256(str(directory).encode()).hexdigest()[:8]}"
    with psycopg.connect(dbname="postgres", autocommit=True, **where) as server:
        server.execute(f"CREATE DATABASE {name}")
        settings = {"ENGINE": "django.db.backends.postgresql", "NAME": name}
        yield settings | {key.upper(): str(value) for key, value in where.items()}
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def database_extras() -> tuple[str, ...]:
    """Return the extra that the suite's database needs."""
    return ("postgresql",) if connection.vendor == "postgresql" else ()
