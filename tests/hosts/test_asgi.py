"""A host under ASGI: uvicorn, with the short way for deliveries and without."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from tests.hosts.environments import Host, database_extras, deliver, new_project, python_with

SETTINGS = """
INSTALLED_APPS += ["rest_framework", "oauth2_provider", "drf_spectacular", "drf_spectacular_sidecar"]
INSTALLED_APPS += ["sartiq.tasks"]
OAUTH2_PROVIDER = {"SCOPES": {"tasks:webhook": "Post"}, "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True}
"""
SHORT = 'MIDDLEWARE.insert(1, "sartiq.tasks.middleware.deliveries_first")\n'
URLS = """
from django.urls import include
urlpatterns = [path("api/v1/", include("sartiq.tasks.urls")), *urlpatterns]
"""


def test_the_answers_are_the_same_by_the_short_way_and_the_long(
    tmp_path: Path, host_database: dict[str, Any]
) -> None:
    host = new_project(tmp_path, python_with("uvicorn", extras=database_extras()), database=host_database)
    host.write("backend/settings.py", SETTINGS, append=True)
    host.write("backend/urls.py", URLS, append=True)
    host.manage("migrate", "--verbosity", "0")
    token = host.create_client()["access_token"]

    check(host, token, task_id="long", stored=41)
    host.write("backend/settings.py", SHORT, append=True)
    check(host, token, task_id="short", stored=82)


def check(host: Host, token: str, *, task_id: str, stored: int) -> None:
    with host.serving("-m", "uvicorn", "--port", "{port}", "backend.asgi:application") as url:
        answers = [
            deliver(url, token, task_id=task_id),
            deliver(url, token, task_id=task_id),
            deliver(url, "unknown"),
            deliver(url, token, progress=101),
            requests.get(f"{url}/api/v1/tasks/webhook", timeout=60),
            requests.get(f"{url}/api/v1/openapi.json", timeout=60),
        ]
        with ThreadPoolExecutor(8) as pool:
            numbers = range(50, 90)
            at_once = list(
                pool.map(lambda number: deliver(url, token, task_id=task_id, progress=number), numbers)
            )

    assert [answer.status_code for answer in answers] == [200, 200, 401, 422, 401, 200]
    assert [answer.json()["duplicate"] for answer in answers[:2]] == [False, True]
    assert all(answer.headers["Content-Length"] == str(len(answer.content)) for answer in answers)
    assert [answer.status_code for answer in at_once] == [200] * 40
    assert len({answer.json()["id"] for answer in at_once}) == 40
    count = "from sartiq.tasks.models import *; print(TaskStatusEvent.objects.count())"
    assert host.shell(count) == f"{stored}\n"
