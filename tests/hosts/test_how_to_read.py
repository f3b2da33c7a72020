"""docs/how-to-read.md, followed in a host: every block of it is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import requests

from tests.hosts.environments import Host, deliver, logged_in
from tests.hosts.pages import text_of, write_files
from tests.hosts.test_wheel import plugged_in

PAGE = text_of("docs/how-to-read.md")
TRAININGS = """
from django.contrib.auth.models import User
from trainings.models import Incident, Training
ada = User.objects.get()
for task in ("a.b/c", "plain", "not heard of"):
    Training.objects.create(owner=ada, task_id=task)
Training.objects.create(owner=User.objects.create(username="eve"), task_id="hers")
Training.objects.create(owner=ada)
"""
#: Changes since when the task has been running, and nothing else.
REBUILD = """
from django.conf import settings
from sartiq.tasks.ledger.rebuilding import rebuild_task
settings.SARTIQ_TASKS = {"STATUSES": {"queued": ["running"], "running": ["working"]}}
rebuild_task("a.b/c")
"""
READS = """
from io import StringIO
from datetime import timedelta
from django.utils import timezone
from django.core.management import call_command
from sartiq.tasks.models import Task
from trainings.models import Incident, Training
for tasks in (%s):
    print([task.pk for task in tasks])
trainings = Training.objects.select_related("task").order_by("pk")
print([training.task and training.task.pk for training in trainings])
print(trainings.filter(task__meaning="failed").get().task_id, Task.objects.get(pk="plain").trainings.get().pk)
try:
    Training.objects.get(task_id="not heard of").task
except Task.DoesNotExist:
    print("no row yet")
last = Task.objects.get(pk="plain").last_event
incident = Incident.objects.create(task_id="plain", event_id=last.pk, error_message=last.error_message)
assert Incident.objects.get().event == last
Task.objects.update(last_received_at=timezone.now() - timedelta(days=2))
Task.objects.get(pk="plain").events.update(received_at=timezone.now() - timedelta(days=2))
call_command("prune_task_events", "--older-than", "1d", "--remove-tasks", stdout=StringIO())
print(Task.objects.filter(pk="plain").exists(), Training.objects.count(), Incident.objects.get().event)
"""


def plugged_in_as_the_page_says(directory: Path, database: dict[str, Any]) -> Host:
    host = plugged_in(directory, database)
    host.manage("startapp", "trainings")
    host.write("backend/settings.py", "\nINSTALLED_APPS += ['trainings']\n", append=True)
    write_files(host, PAGE)
    host.manage("makemigrations", "trainings")
    host.manage("migrate")
    assert "no issues" in host.manage("check", options=("-W", "error"))
    return host


def test_the_recipes(tmp_path: Path, host_database: dict[str, Any]) -> None:
    host = plugged_in_as_the_page_says(tmp_path, host_database)
    token = host.create_client()["access_token"]
    host.create_superuser()
    host.shell(TRAININGS)
    with host.serving() as url:
        for task_id, status in (("a.b/c", "running"), ("plain", "failed"), ("hers", "running")):
            deliver(url, token, task_id=task_id, status=status, entity_id="dataset-7")
        api = f"{url}/api/tasks/"
        assert requests.get(api, timeout=60).status_code == 403
        staff = logged_in(url)
        shown = staff.get(api, timeout=60).json()
        assert [task["task_id"] for task in shown] == ["plain", "a.b/c"]
        newest = shown[0]["last_received_at"]
        assert [task["task_id"] for task in staff.get(api, params={"since": newest}, timeout=60).json()] == [
            "plain"
        ]
        assert staff.get(api, params={"since": "yesterday"}, timeout=60).status_code == 400
        assert staff.get(f"{api}hers/", timeout=60).status_code == 404
        assert staff.post(api, json={}, timeout=60).status_code in (403, 405)
        task = staff.get(f"{api}a.b/c/", timeout=60)
        assert task.json()["meaning"] == "running"
        same = {"If-None-Match": task.headers["ETag"]}
        deliver(url, token, task_id="a.b/c", status="running", entity_id="dataset-7")  # a duplicate
        unchanged = staff.get(f"{api}a.b/c/", headers=same, timeout=60)
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["ETag"] == task.headers["ETag"]
        later = {"status": "working", "timestamp": "2030-01-01T00:00:00Z", "progress": 6}
        deliver(url, token, task_id="a.b/c", entity_id="dataset-7", **later)
        changed = staff.get(f"{api}a.b/c/", headers=same, timeout=60)
        assert (changed.status_code, changed.json()["progress"]) == (200, 6)
        host.shell(REBUILD)
        rebuilt = staff.get(f"{api}a.b/c/", headers={"If-None-Match": changed.headers["ETag"]}, timeout=60)
        assert rebuilt.json() == changed.json() | {"phase_since": rebuilt.json()["status_at"]}
    usual = re.findall(r"^Task\.objects.*$", PAGE, flags=re.MULTILINE)

    assert host.shell(READS % ", ".join(usual)).splitlines() == [
        "['a.b/c', 'hers']",
        "[]",
        "['plain']",
        "['a.b/c', 'hers', 'plain']",
        "['a.b/c', 'plain', None, 'hers', None]",
        "plain 2",
        "no row yet",
        "False 5 None",
    ]


def test_the_app_is_removed_and_what_points_to_its_tasks_stays(
    tmp_path: Path, host_database: dict[str, Any]
) -> None:
    host = plugged_in_as_the_page_says(tmp_path, host_database)
    host.shell(
        "from trainings.models import Incident\n"
        "Incident.objects.create(task_id='t1', event_id=1, error_message='out of memory')"
    )
    to_zero = ("migrate", "sartiq_tasks", "zero")
    assert "Undo Create model Training" in host.manage(*to_zero, "--plan")

    found = re.search(r"`task_id = (models\.CharField\(.*?\))`", text_of("docs/plugging-in.md"))
    assert found
    column = {True: found[1], False: found[1].replace("null=True, ", "")}
    for path in ("trainings/models.py", "trainings/migrations/0001_initial.py"):
        text = (host.directory / path).read_text()
        for start in ("task = ", "('task', "):
            text = re.sub(
                re.escape(start) + r"models\.ForeignKey\(.*?(?:\)\),|\n?    \)|\))\n",
                lambda key: (
                    f"{key[0].partition('models.')[0].replace('task', 'task_id')}"
                    f"{column['null=True' in key[0]]}{'),' if key[0].startswith('(') else ''}\n"
                ),
                text,
                flags=re.DOTALL,
            )
        host.write(path, re.sub(r"\n *\('sartiq_tasks', .*?\),", "", text))
    for path in ("trainings/api.py", "trainings/admin.py", "trainings/tests.py"):
        host.write(path, "")
    host.write("backend/urls.py", "urlpatterns = []\n")

    assert "No changes" in host.manage("makemigrations", "--check", "trainings")
    assert "trainings" not in host.manage(*to_zero, "--plan")
    host.manage(*to_zero)
    left = (
        "from trainings.models import Incident; print(*Incident.objects.values_list('task_id', 'event_id'))"
    )
    assert host.shell(left) == "('t1', 1)\n"
