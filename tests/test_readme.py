"""The README's promises, tried as a stranger would try them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests
from django.core.cache import cache

from tasks.signals import event_recorded
from tests.factories import record
from tests.hosts.environments import (
    database_extras,
    deliver,
    logged_in,
    new_database,
    new_project,
    python_with,
    wheel,
)

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    """Return the text under a heading of the README."""
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def in_this_repository(example: str) -> str:
    """Return a host's code with the app under the name that it has here."""
    return example.replace("sartiq.tasks", "tasks")


def code_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_plugging_the_wheel_into_a_new_project(tmp_path: Path) -> None:
    settings, urls = code_blocks(section("Plug it into your backend"))
    assert len((settings + urls).splitlines()) <= 6
    assert f"    pip install {wheel().name}\n" in README
    with new_database(tmp_path) as database:
        host = new_project(tmp_path, python_with(extras=database_extras()), database=database)
        host.write("backend/settings.py", settings, append=True)
        host.write("backend/urls.py", urls, append=True)
        assert "no issues" in host.manage("check", options=("-W", "error"))
        host.manage("migrate")
        host.manage("makemigrations", "--check", "--dry-run")
        client = host.create_client()
        host.create_superuser()
        with host.serving() as url:
            answer = deliver(url, client["access_token"])
            assert (answer.status_code, answer.json()["duplicate"]) == (200, False)
            assert requests.get(f"{url}/api/v1/openapi.json", timeout=60).json()["openapi"] == "3.1.0"
            event = f"{url}/admin/sartiq_tasks/taskstatusevent/{answer.json()['id']}/change/"
            staff = logged_in(url)
            page = staff.get(event, timeout=60)
            assert (page.status_code, "out of memory" in page.text) == (200, True)
            assert "task-1" in staff.get(f"{url}/admin/sartiq_tasks/task/", timeout=60).text
        # The token is in the ledger's database as its checksum alone.
        stored = host.shell(
            "from oauth2_provider.models import AccessToken; print(repr(AccessToken.objects.get().token))"
        )
        assert stored.strip() == "''"


@pytest.mark.parametrize(
    "installed",
    [
        "INSTALLED_APPS = tuple(INSTALLED_APPS)",
        "INSTALLED_APPS = [*INSTALLED_APPS, 'rest_framework', 'drf_spectacular']",
        "INSTALLED_APPS = ('oauth2_provider', *INSTALLED_APPS, 'rest_framework')",
    ],
)
def test_the_settings_fit_whatever_is_installed_already(installed: str) -> None:
    settings, _ = code_blocks(section("Plug it into your backend"))
    namespace = {"INSTALLED_APPS": ["django.contrib.auth", "shop"]}
    exec(f"{installed}\n{settings}", namespace)

    apps = namespace["INSTALLED_APPS"]
    assert len(apps) == len(set(apps))
    assert {"shop", "rest_framework", "sartiq.tasks"} < set(apps)


REFUND = """
from django.db import models


class Refund(models.Model):
    task_id = models.CharField(max_length=255)
    credits = models.IntegerField()
"""


def test_the_first_handler(tmp_path: Path) -> None:
    handler, _ = code_blocks(section("React to events"))
    (work,) = re.findall(r"^    python manage.py (.*)$", section("React to events"), flags=re.MULTILINE)
    assert len([line for line in handler.splitlines() if line]) == 5
    with new_database(tmp_path) as database:
        host = new_project(tmp_path, python_with(extras=database_extras()), database=database)
        settings, urls = code_blocks(section("Plug it into your backend"))
        host.manage("startapp", "shop")
        host.write("backend/settings.py", f"{settings}INSTALLED_APPS += ['shop']\n", append=True)
        host.write("backend/urls.py", urls, append=True)
        host.write("shop/models.py", REFUND)
        host.write("shop/task_handlers.py", handler)
        host.manage("makemigrations", "shop")
        host.manage("migrate")
        token = host.create_client()["access_token"]
        with host.serving() as url:
            for status in ("running", "failed", "failed"):
                assert deliver(url, token, status=status).status_code == 200
        host.manage(*work.split(), "--once", options=("-W", "error"))
        host.manage(*work.split(), "--once")
        refunds = host.shell(
            "from shop.models import Refund; print(*Refund.objects.values_list('task_id', 'credits'))"
        )

    assert refunds.strip() == "('task-1', 10)"


@pytest.mark.django_db(transaction=True)
def test_the_signal_for_what_may_be_lost() -> None:
    _, example = code_blocks(section("React to events"))
    namespace: dict[str, object] = {}
    exec(in_this_repository(example), namespace)
    cache.set("task-task-1", "an old status")
    try:
        record(status="failed")
    finally:
        event_recorded.disconnect(namespace["forget"])

    assert cache.get("task-task-1") is None


def test_every_file_that_it_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("command", re.findall(r"^    make (\S+)", README, flags=re.MULTILINE))
def test_every_make_command_exists(command: str) -> None:
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
