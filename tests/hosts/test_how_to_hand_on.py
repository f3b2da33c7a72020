"""docs/how-to-hand-on.md, followed in hosts with a queue each; the worker is killed after it has enqueued."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django

from tests.forking import start_forked
from tests.hosts.environments import Host, clean_environment, deliver, once
from tests.hosts.pages import commands, text_of, write_files
from tests.hosts.test_wheel import plugged_in
from tests.programs import needed
from tests.servers import free_port, wait_for_port

PAGE = text_of("docs/how-to-hand-on.md")
KILL = """
    import os, signal
    if change.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
"""
TOLD = "Your training task-1 has failed."


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def host_with(tmp_path: Path, database: dict[str, Any], text: str) -> tuple[Host, list[str]]:
    """Return a host that has followed ``text`` up to ``migrate``, and the commands after that."""
    install, *rest = commands(text)
    host = plugged_in(tmp_path, database, *shlex.split(install)[2:])
    host.manage("startapp", "trainings")
    settings = "\nINSTALLED_APPS += ['trainings']\nfrom datetime import timedelta\n"
    settings += "SARTIQ_TASKS = {'HANDLER_LEASE': timedelta(seconds=1)}\n"
    host.write("backend/settings.py", settings, append=True)
    write_files(host, text)
    while rest[0].startswith("python manage.py m"):
        host.manage(*rest.pop(0).split()[2:])
    return host, rest


def fail_a_training(host: Host) -> None:
    """Have the worker killed when it has handed on, and another one hand on again."""
    host.write("trainings/task_handlers.py", KILL, append=True)
    token = host.create_client()["access_token"]
    with host.serving() as url:
        assert deliver(url, token, status="failed").status_code == 200


def work_twice(host: Host, command: str, between: str = "") -> str:
    """Run the handlers, of which the first is killed; return what ``between`` printed then."""
    arguments = command.split()[1:]
    host.run(*arguments, status=-signal.SIGKILL)
    found = host.shell(between) if between else ""
    time.sleep(1.5)
    host.run(*arguments)
    return found


@contextmanager
def redis() -> Iterator[int]:
    """Run a Redis until the end of the block; yield its port."""
    program = needed("redis-server", package="redis-server")
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL
    )
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def test_a_task_of_djangos_commits_with_the_mark(tmp_path: Path, host_database: dict[str, Any]) -> None:
    text = section("Django's Tasks")
    if django.VERSION < (6, 0):
        (other,) = re.findall(r"# Django 5.2: (.*)", text)
        text = text.replace("from django.tasks import task", other, 1)
    host, (handlers, worker) = host_with(tmp_path, host_database, text)
    fail_a_training(host)
    count = "from django_tasks_db.models import DBTaskResult; print(DBTaskResult.objects.count())"

    assert work_twice(host, handlers, between=count) == "0\n"
    assert host.shell(count) == "1\n"
    assert host.manage(*worker.split()[2:]).count(TOLD) == 1


@once
def test_celery_gets_it_twice_and_tells_once(tmp_path: Path, host_database: dict[str, Any]) -> None:
    with redis() as port:
        text = section("Celery").replace("redis://127.0.0.1", f"redis://127.0.0.1:{port}")
        host, (handlers, worker) = host_with(tmp_path, host_database, text)
        fail_a_training(host)
        work_twice(host, handlers)
        log = tmp_path / "celery.log"
        program, *arguments = worker.split()
        celery = [host.python, "-m", program, *arguments, "--pool", "solo", "--loglevel", "info"]
        process = start_forked(*celery, cwd=host.directory, env=clean_environment(), stdout=log, stderr=log)
        try:
            for _ in range(600):
                if log.exists() and log.read_text().count("succeeded in") == 2:
                    break
                time.sleep(0.1)
        finally:
            process.terminate()
            process.wait(60)

    assert log.read_text().count("succeeded in") == 2
    assert log.read_text().count(TOLD) == 1


@once
def test_rq_gets_it_twice_and_tells_once(tmp_path: Path, host_database: dict[str, Any]) -> None:
    (model,) = re.findall(
        r"^Make `trainings/models.py`:\n\n```python\n.*?```$", section("Celery"), re.M | re.S
    )
    with redis() as port:
        text = f"{model}\n{section('RQ')}".replace("redis://127.0.0.1", f"redis://127.0.0.1:{port}")
        host, (handlers, worker) = host_with(tmp_path, host_database, text)
        fail_a_training(host)
        work_twice(host, handlers)
        told = host.manage(*worker.split()[2:])

    assert told.count("Job OK") == 2
    assert told.count(TOLD) == 1
