"""``make run``, from nothing to an event stored by the line that it prints."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.servers import ROOT, copy_migrated_sqlite, free_port, manage, serving_command


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The parts of the project that the script needs, without anything from an earlier run."""
    here = tmp_path / "checkout"
    for name in ("scripts", "tasks", "sartiq_tasks"):
        shutil.copytree(ROOT / name, here / name, ignore=shutil.ignore_patterns("__pycache__"))
    return here


def environment(port: str, **changes: str) -> dict[str, str]:
    ours = (
        "ALLOWED_HOSTS",
        "DATABASE_URL",
        "DEBUG",
        "DJANGO_SETTINGS_MODULE",
        "HTTPS",
        "SECRET_KEY",
        "STATIC_ROOT",
    )
    theirs = {name: value for name, value in os.environ.items() if name not in ours}
    return {**theirs, "PORT": port, **changes}


@contextmanager
def run(checkout: Path, **changes: str) -> Iterator[tuple[psutil.Popen, str]]:
    """Run it until the end of the block; yield its process and what it printed."""
    port = changes.pop("PORT", str(free_port()))
    log = checkout / "log"
    command = (sys.executable, str(checkout / "scripts" / "run.py"))
    with serving_command(
        *command,
        cwd=checkout,
        env=environment(port, **changes),
        url=f"http://127.0.0.1:{port}/healthz",
        log=log,
    ) as process:
        yield process, banner(log)


def printed(checkout: Path) -> str:
    """Run it, do what it says, and return what it printed."""
    with run(checkout) as (process, text):
        post_as_told(text)
        log_in_as_told(text)
        assert handlers_of(process) == []
    return text


def banner(log: Path) -> str:
    """Return what is printed once the server listens, which its first answer may precede."""
    for _ in range(100):
        if "\ncurl " in (text := log.read_text()):
            return text
        time.sleep(0.1)
    raise AssertionError(text)


def post_as_told(text: str, **changes: Any) -> None:
    (line,) = re.findall(r"^curl .*", text, flags=re.MULTILINE)
    curl = shlex.split(line)
    headers = dict(curl[place + 1].split(": ", 1) for place, word in enumerate(curl) if word == "-H")
    event = json.loads(curl[curl.index("-d") + 1]) | changes
    answer = requests.post(curl[2], json.dumps(event), headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["task_id"]) == (200, event["task_id"])


def log_in_as_told(text: str) -> None:
    found = re.search(r"^Admin +(\S+) +login: (\S+) +password: (\S+)", text, flags=re.MULTILINE)
    assert found is not None
    url, username, password = found.groups()
    staff = requests.Session()
    staff.get(f"{url}login/", timeout=30)
    form = {
        "username": username,
        "password": password,
        "csrfmiddlewaretoken": staff.cookies["csrftoken"],
        "next": "/admin/sartiq_tasks/task/",
    }
    page = staff.post(f"{url}login/", form, timeout=30)
    assert page.status_code == 200
    assert "task-1" in page.text
    static = re.search(r'href="(/static/admin/css/base[^"]*)"', page.text)
    assert static is not None
    assert requests.get(url.removesuffix("/admin/") + static[1], timeout=30).status_code == 200


HANDLER = """
import pathlib, time
from tasks.handlers import on_change

@on_change(to="failed")
def react(change):
    with pathlib.Path("effects").open("a") as effects:
        effects.write(f"{change.task_id}\\n")
    time.sleep(3600 if change.task_id == "slow" else 0)
"""


@pytest.fixture
def with_handler(checkout: Path) -> Path:
    """The same with an app that has a handler, and spared the migrations."""
    copy_migrated_sqlite(f"sqlite:///{checkout}/db.sqlite3")
    (checkout / "shop").mkdir()
    (checkout / "shop" / "__init__.py").touch()
    (checkout / "shop" / "task_handlers.py").write_text(HANDLER)
    with (checkout / "sartiq_tasks" / "settings.py").open("a") as settings:
        settings.write("INSTALLED_APPS += ['shop']\n")
    return checkout


def handlers_of(process: psutil.Popen) -> list[psutil.Process]:
    return [one for one in process.children() if "run_handlers" in " ".join(one.cmdline())]


def wait_for_effect(checkout: Path, name: str) -> None:
    effects = checkout / "effects"
    for _ in range(600):
        if effects.exists() and name in effects.read_text().split():
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody reacted to {name}")


def test_handlers_run_beside_the_server_are_started_again_and_end_with_it(with_handler: Path) -> None:
    with run(with_handler, DEBUG="on") as (process, text):
        post_as_told(text, status="failed")
        wait_for_effect(with_handler, "task-1")

        (handlers,) = handlers_of(process)
        handlers.kill()
        post_as_told(text, status="failed", task_id="task-2")
        wait_for_effect(with_handler, "task-2")
        assert "The handlers' process ended (-9): another is started." in (with_handler / "log").read_text()

        # One that is slow keeps nobody waiting: it is called again by the next run.
        post_as_told(text, status="failed", task_id="slow")
        wait_for_effect(with_handler, "slow")
        family = process.children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert [one for one in family if one.is_running()] == []


def test_handlers_end_if_the_server_is_killed(with_handler: Path) -> None:
    with run(with_handler, DEBUG="on") as (process, text):
        post_as_told(text, status="failed")
        wait_for_effect(with_handler, "task-1")
        family = process.children(recursive=True)
        process.kill()
        _, alive = psutil.wait_procs(family, timeout=60)
        assert alive == []


def test_the_first_run_and_the_next(checkout: Path) -> None:
    first = printed(checkout)
    kept = checkout / "local" / "run.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    secrets = json.loads(kept.read_text())

    again = printed(checkout)

    assert json.loads(kept.read_text())["databases"] == secrets["databases"]
    (made,) = secrets["databases"].values()
    for told in (first, again):
        assert made["client_secret"] in told
        assert made["password"] in told


def demo(checkout: Path, port: str, *arguments: str) -> str:
    """Run ``make demo`` as in another terminal, which knows nothing but the port; return what it printed."""
    done = subprocess.run(
        (sys.executable, str(checkout / "scripts" / "demo.py"), *arguments),
        cwd=checkout, env=environment(port), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def tasks_in(url: str) -> int:
    code = "from tasks.models import Task; print(Task.objects.count())"
    return int(manage("shell", "-v", "0", "-c", code, database_url=url).split()[-1])


def test_the_demo_plays_to_the_database_that_is_served(checkout: Path, own_database: str) -> None:
    """``DATABASE_URL`` of ``make run`` has changed: the client is that of the other database."""
    port = str(free_port())
    default = f"sqlite:///{checkout}/db.sqlite3"
    few = ("--tasks", "4", "--rate", "200")
    copy_migrated_sqlite(default)
    copy_migrated_sqlite(own_database)
    with run(checkout, PORT=port):
        demo(checkout, port, *few, "--seed", "1")
    assert tasks_in(default) == 4

    with run(checkout, PORT=port, DATABASE_URL=own_database) as (_, text):
        told = demo(checkout, port, *few, "--seed", "2", "--lose", "1")
        assert re.search(
            r": \d+ do, and [1-4] had ended\. Those endings were lost, and are stored now\.", told
        )
        again = shlex.split(told.partition("The same again:\n")[2])
        (arguments,) = [word.removeprefix("ARGS=") for word in again if word.startswith("ARGS=")]
        demo(checkout, port, *shlex.split(arguments))
        assert json.loads((checkout / "local" / "run.json").read_text())["databases"][own_database]
    assert "password: " in text
    assert tasks_in(own_database) == 4
    assert tasks_in(default) == 4

    with run(checkout, PORT=port):
        demo(checkout, port, *few, "--seed", "3")
    assert tasks_in(default) == 8


def test_the_demo_without_a_server_says_so(checkout: Path) -> None:
    done = subprocess.run(
        (sys.executable, str(checkout / "scripts" / "demo.py")),
        cwd=checkout, env=environment(str(free_port())), capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("`make run` has made no client in this database.")
