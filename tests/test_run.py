"""``make run``, from nothing to an event stored by the line that it prints."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.servers import ROOT, free_port, serving_command


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the script needs of the project, and nothing that an earlier run left."""
    for name in ("scripts", "tasks", "sartiq_tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def printed(checkout: Path) -> str:
    """Run it, do what it says, and return what it printed."""
    port = str(free_port())
    log = checkout / "log"
    ours = (
        "ALLOWED_HOSTS",
        "DATABASE_URL",
        "DEBUG",
        "DJANGO_SETTINGS_MODULE",
        "HTTPS",
        "SECRET_KEY",
        "STATIC_ROOT",
    )
    environment = {name: value for name, value in os.environ.items() if name not in ours} | {"PORT": port}
    command = (sys.executable, str(checkout / "scripts" / "run.py"))
    with serving_command(
        *command, cwd=checkout, env=environment, url=f"http://127.0.0.1:{port}/healthz", log=log
    ):
        text = banner(log)
        post_as_told(text)
        log_in_as_told(text)
    return text


def banner(log: Path) -> str:
    """Return what is printed once the server listens, which its first answer may precede."""
    for _ in range(100):
        if "\ncurl " in (text := log.read_text()):
            return text
        time.sleep(0.1)
    raise AssertionError(text)


def post_as_told(text: str) -> None:
    (line,) = re.findall(r"^curl .*", text, flags=re.MULTILINE)
    curl = shlex.split(line)
    headers = dict(curl[place + 1].split(": ", 1) for place, word in enumerate(curl) if word == "-H")
    answer = requests.post(curl[2], curl[curl.index("-d") + 1], headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["task_id"]) == (200, "task-1")


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
