"""A host with another admin theme: each page answers, with rows and without, and shows its contents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.environments import database_extras, new_project, once, python_with

SETTINGS = """
INSTALLED_APPS = [*{apps}, *INSTALLED_APPS, "oauth2_provider", "rest_framework", "drf_spectacular",
    "drf_spectacular_sidecar", "sartiq.tasks"]
OAUTH2_PROVIDER = {{"SCOPES": {{"tasks:webhook": "Post"}}}}
ALLOWED_HOSTS = ["*"]
"""
URLS = """
from django.urls import include
urlpatterns += [path("grappelli/", include("grappelli.urls"))]
"""
#: Asks for each page and prints the answers' statuses, and for each list what it shows of a row.
WALK = """
import json
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone
from sartiq.tasks.handlers import on_event
from sartiq.tasks.ledger.recording import record_event
from sartiq.tasks.models import Reaction, RejectedDelivery, TaskStatusEvent
from sartiq.tasks.serializers import task_status_event

client = Client()
client.force_login(get_user_model().objects.create_superuser("ada"))
statuses, shown = {}, {}

def ask(address, holds=""):
    answer = client.get("/admin/sartiq_tasks/" + address, follow=True)
    if answer.streaming:
        text = b"".join(answer.streaming_content).decode()
    else:
        text = answer.content.decode()
    statuses[f"{address} {len(shown)}"] = answer.status_code
    if holds:
        shown[address] = holds in text

def walk(full):
    for model, asked in {"task": "task_type=training", "taskstatusevent": "status=failed",
                         "rejecteddelivery": "field=progress", "reaction": "state=dead"}.items():
        ask(f"{model}/", 'id="result_list"' if full else 'id="st-none"')
        for query in ("?q=t", f"?{asked}", "?_popup=1", "?o=0", "?p=1", "?q=nothing"):
            ask(f"{model}/{query}")
        ask(f"{model}/export.csv")
    ask("overview/", "st-conclusion")
    ask("handler/", 'id="st-pause-1"' if full else 'id="st-none"')
    ask("")

walk(full=False)
on_event(name="shop.keep")(print)
empty, shown = dict(shown), {}
body = {"event_type": "e", "task_id": "t-1", "status": "failed", "progress": 5, "task_type": "training",
        "error_message": "boom <b>", "timestamp": "0001-01-01T00:00:00Z", "metadata": {"loss": 0.5}}
recorded = record_event(event=task_status_event.run_validation(body), digest=b"d" * 32, source="tests")
rejected = RejectedDelivery.objects.create(received_at=timezone.now(), source="tests", status=422,
    errors=[{"type": "less_than_equal", "loc": ["body", "progress"], "msg": "too great"}],
    faults=" progress:less_than_equal ", headers={}, body=b'{"progress": 101}', is_whole=True)
walk(full=True)
ask("task/t-1/change/", "boom &lt;b&gt;")
ask(f"taskstatusevent/{recorded.event_id}/change/", "boom &lt;b&gt;")
ask(f"rejecteddelivery/{rejected.pk}/change/", "<mark")
answer = client.post("/admin/sartiq_tasks/rejecteddelivery/",
                     {"action": "try_again", "_selected_action": rejected.pk}, follow=True)
statuses["action"] = answer.status_code
shown["action"] = "still rejected" in answer.content.decode()
reaction = Reaction.objects.get()
ask(f"reaction/{reaction.pk}/change/", "shop.keep:t-1:1")
asked = {"action": "give_up", "_selected_action": reaction.pk}
for number, holds in enumerate(("Yes, I am sure", "1 reaction was changed.")):
    answer = client.post("/admin/sartiq_tasks/reaction/", asked, follow=True)
    asked["confirmed"] = "yes"
    statuses[f"decide {number}"] = answer.status_code
    shown[f"decide {number}"] = holds in answer.content.decode()
print(json.dumps({"statuses": statuses, "empty": empty, "full": shown}))
"""


@once  # what the lists ask of the database is the same without a theme
@pytest.mark.parametrize(
    ("requirement", "apps"),
    [
        ("django-unfold>=0.60", ["unfold"]),
        ("django-jazzmin>=3", ["jazzmin"]),
        ("django-grappelli>=4", ["grappelli"]),
    ],
)
def test_every_page_in_a_theme(
    tmp_path: Path, host_database: dict[str, Any], requirement: str, apps: list[str]
) -> None:
    host = new_project(tmp_path, python_with(requirement, extras=database_extras()), database=host_database)
    host.write("backend/settings.py", SETTINGS.format(apps=apps), append=True)
    if "grappelli" in apps:
        host.write("backend/urls.py", URLS, append=True)
    host.manage("migrate", "--verbosity", "0")
    told = json.loads(host.shell(WALK).splitlines()[-1])

    assert {address: code for address, code in told["statuses"].items() if code != 200} == {}
    assert [address for address, is_shown in told["empty"].items() if not is_shown] == []
    assert [address for address, is_shown in told["full"].items() if not is_shown] == []
