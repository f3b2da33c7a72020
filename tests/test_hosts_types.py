"""The app as a host's type checker sees it: exact types, and never ``Any``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.hosts.environments import once, python_with, run
from tests.test_reference import public

pytestmark = once

CODE = """
from datetime import datetime

from sartiq.tasks.auth.clients import create_compute_client
from sartiq.tasks.models import Task, TaskStatusEvent

from typing_extensions import assert_type


def rows(task: Task, event: TaskStatusEvent) -> None:
    assert_type(task.task_id, str)
    assert_type(task.status, str | None)
    assert_type(task.meaning, str)
    assert_type(task.progress, float)
    assert_type(task.event_count, int)
    assert_type(task.last_event_at, datetime)
    assert_type(task.completed_at, datetime | None)
    assert_type(task.last_event, TaskStatusEvent)
    assert_type(task.last_event_id, int)
    assert_type(event.id, int)
    assert_type(event.task, Task)
    assert_type(event.task_id, str)
    assert_type(event.deliveries, int)
    assert_type(event.timestamp, datetime | None)
    assert_type(event.idempotency_key, bytes)


def clients() -> None:
    client, secret = create_compute_client("my-cluster")
    assert_type(client.client_id, str)
    assert_type(secret, str)
"""
READS = """

def reads(task: Task) -> None:
    for one in Task.objects.search("task-"):
        assert_type(one, Task)
    for last in task.events.order_by("-id")[:3]:
        assert_type(last, TaskStatusEvent)
    assert_type(Task.objects.search("a").filter(progress=1).first(), Task | None)
    assert_type(Task.objects.get(pk="a"), Task)
    assert_type(task.events.filter(status="failed").last(), TaskStatusEvent | None)
"""
#: Each public name at least once, in the way that a host uses it.
USES = """
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.contrib.admin import AdminSite
from django.dispatch import receiver
from django.urls import include, path
from sartiq.tasks.admin import (
    HandlerAdmin, OverviewAdmin, ReactionAdmin, RejectedDeliveryAdmin, TaskAdmin, TaskStatusEventAdmin,
    register,
)
from sartiq.tasks.auth.authentication import BearerTokenAuthentication
from sartiq.tasks.auth.clients import ComputeClient, compute_client, issue_token
from sartiq.tasks.auth.permissions import MayPostEvents
from sartiq.tasks.auth.signatures import Signature, SignatureAuthentication, SignedTokenAuthentication
from sartiq.tasks.auth.views import AccessTokenView
from sartiq.tasks.exceptions import (
    BodyIncomplete, BodyTooLarge, ContractViolation, DatabaseUnavailable, IdempotencyConflict, LengthRequired,
    Unconfirmed,
)
from sartiq.tasks.handlers import Change, GiveUp, RetryLater, on_change, on_event, on_found, on_lost
from sartiq.tasks.ledger.rebuilding import rebuild_task
from sartiq.tasks.ledger.recording import Recorded, record_event
from sartiq.tasks.ledger.silence import mark_lost, mark_not_lost
from sartiq.tasks.lifecycle import Meaning, Phase
from sartiq.tasks.middleware import deliveries_first
from sartiq.tasks.models import Handler, Reaction, RejectedDelivery, Silence
from sartiq.tasks.ops.health import healthz, readyz
from sartiq.tasks.ops.metrics import MetricsView
from sartiq.tasks.querysets import (
    ReactionQuerySet,
    RejectedDeliveryQuerySet,
    SilenceQuerySet,
    TaskQuerySet,
    TaskStatusEventQuerySet,
)
from sartiq.tasks.rejections import try_again
from sartiq.tasks.serializers import TaskSerializer, read_event
from sartiq.tasks.signals import event_recorded
from sartiq.tasks.testing import (
    CRASH_POINTS, Compute, ComputeTestMixin, Handlers, WorkerKilled, event_body, full_event_body, make_token,
    orders, signed_headers, story,
)
from sartiq.tasks.openapi.views import DocsView, DocumentView
from sartiq.tasks.views import TaskWebhookView
from sartiq.tasks.watchdog import Alive, Gone, Report, Reported, record_report

MIDDLEWARE = [f"{deliveries_first.__module__}.{deliveries_first.__name__}"]


class OurTasks(TaskAdmin):
    list_per_page = 50
    list_display = [*TaskAdmin.list_display, "entity_id"]
    list_filter = (*TaskAdmin.list_filter, "entity_id")
    actions = ["ask_now"]


site = AdminSite(name="ours")
register(site)
PAGES = [HandlerAdmin, OverviewAdmin, ReactionAdmin, RejectedDeliveryAdmin, OurTasks, TaskStatusEventAdmin]


class Posters(MayPostEvents):
    message = "Not one of ours"


class OurView(TaskWebhookView):
    authentication_classes = [
        BearerTokenAuthentication, SignatureAuthentication, SignedTokenAuthentication,
    ]
    permission_classes = [Posters]


urlpatterns = [
    path("api/v1/", include("sartiq.tasks.urls")),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", MetricsView.as_view()),
    path("events", OurView.as_view()),
    path("token", AccessTokenView.as_view()),
    path("docs", DocsView.as_view()),
    path("openapi.json", DocumentView.as_view()),
]


def token(name: str) -> str:
    client: ComputeClient = compute_client(name)
    return issue_token(client)


def signer(signature: Signature) -> str:
    return signature.source


@receiver(event_recorded)
def told(sender: object, event: TaskStatusEvent, task: Task, status_changed: bool, **kwargs: object) -> None:
    if status_changed and task.has_failed:
        assert_type(task.phase, Phase | None)


def store(raw: bytes) -> Recorded | None:
    try:
        event, digest = read_event(raw, "application/json")
        recorded = record_event(event=event, digest=digest, source="us")
    except ContractViolation as violation:
        print(violation.items)
    except (BodyIncomplete, BodyTooLarge, DatabaseUnavailable, IdempotencyConflict, LengthRequired) as error:
        print(error.detail)
    except Unconfirmed:
        raise
    else:
        assert_type(recorded.event_id, int)
        assert_type(recorded.duplicate, bool)
        return recorded
    return None


def mend(task: Task, rejected: RejectedDelivery) -> Recorded:
    print(sorted(rebuild_task(task.task_id, dry_run=True)))
    return try_again(rejected)


def tasks(entity: str, since: datetime) -> TaskQuerySet:
    events: TaskStatusEventQuerySet = TaskStatusEvent.objects.search("a")
    print(events.count(), Task.objects.meaning(Meaning.CANCELLED), Task.objects.succeeded().exists())
    print(Task.objects.silent(), Task.objects.ended(), Task.objects.failed().changed_since(since))
    for task in Task.objects.running():
        assert_type(task, Task)
        print(TaskSerializer(task).data)
    return Task.objects.of_entity(entity)


def needing_somebody(found: RejectedDeliveryQuerySet) -> RejectedDeliveryQuerySet:
    return found.open()


def reactions(found: ReactionQuerySet, handler: Handler) -> list[Reaction]:
    for reaction in Reaction.objects.pending():
        assert_type(reaction, Reaction)
        assert_type(reaction.task, Task)
        assert_type(reaction.due_at, datetime)
        assert_type(reaction.task.reactions.dead().last(), Reaction | None)
    return list(found.dead().filter(handler=handler.pk))


@on_change(to=Meaning.FAILED, task_type="training", attempts=5)
def failed(change: Change) -> None:
    assert_type(change.task, Task)
    if change.is_superseded:
        raise GiveUp("It runs again")
    raise RetryLater(seconds=5)


@on_event(event_type="training_status_update", atomic=False)
def each(change: Change) -> None:
    assert_type(change.event, TaskStatusEvent | None)
    assert_type(change.previous, str | None)


@on_lost(task_type="training")
def lost(change: Change) -> None:
    print(change.task.lost_at)


@on_found()
def found_again(change: Change) -> None:
    print(change.event)


def ask(asked: Sequence[Task]) -> Iterator[Alive | Gone | Report]:
    for task in asked:
        yield Alive(task.task_id) if task.is_silent() else Gone(task.task_id)
        yield Report(task.task_id, body={"task_id": task.task_id})


def judge(task: Task, silences: SilenceQuerySet, now: datetime) -> Silence | None:
    assert_type(mark_lost(task) or mark_not_lost(task), bool)
    assert_type(record_report(Report(task.task_id, b"{}")), Reported)
    print(Task.objects.lost(), Task.objects.held_back(), Task.objects.said_to_have_ended(), silences.judged())
    return silences.due(now).first()


def try_them() -> None:
    assert_type(event_body(status="failed") | full_event_body(), dict[str, Any])
    for point in CRASH_POINTS:
        Handlers().run(kill_at=point, after=timedelta(hours=1))
    Handlers().assert_done("shop.refund", task_id="t1")
    assert issubclass(WorkerKilled, BaseException)
    for order in orders(story("training", ends=Meaning.FAILED, task_id="t1"), n=5):
        for body in order:
            assert_type(Compute().post(body, expect=422).status_code, int)
    headers = {"Authorization": f"Bearer {make_token()}"} | signed_headers(b"{}", "whsec_")
    assert_type(Compute(headers=headers), Compute)


class InATest(ComputeTestMixin):
    def test(self) -> None:
        compute = self.compute
        handlers = self.handlers
        assert_type(compute, Compute)
        assert_type(handlers, Handlers)
"""
WRONG = """

def wrong(task: Task) -> None:
    task.progress + "a"
    task.status.upper()
    task.events.no_such_method()
    Task.objects.search(5)
    create_compute_client("a")[0].no_such_attribute
"""
SETTINGS = """
SECRET_KEY = "a"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "oauth2_provider", "sartiq.tasks",
]
"""
PLUGIN = """
[tool.mypy]
plugins = ["mypy_django_plugin.main"]
[tool.django-stubs]
django_settings_module = "settings"
"""
BARE = ("typing_extensions", "mypy")
STUBS = (*BARE, "django-stubs", "djangorestframework-stubs")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "host.py").write_text(CODE + READS + USES)
    (tmp_path / "wrong.py").write_text(CODE + WRONG)
    (tmp_path / "settings.py").write_text(SETTINGS)
    return tmp_path


def test_the_host_uses_each_public_name() -> None:
    used = set(re.findall(r"\w+", CODE + READS + USES))

    assert {name for name in public() if name.rpartition(".")[2] not in used} == set()


@pytest.mark.parametrize(
    ("requirements", "config"), [(STUBS, ""), (STUBS, PLUGIN)], ids=["without a plugin", "with its plugin"]
)
def test_mypy(host: Path, requirements: tuple[str, ...], config: str) -> None:
    (host / "pyproject.toml").write_text(config)
    python = python_with(*requirements)
    strict = (python, "-m", "mypy", "--strict")

    assert "Success" in run(*strict, "host.py", cwd=host)
    assert "Found 5 errors" in run(*strict, "wrong.py", cwd=host, fails=True)


def test_mypy_without_any_stubs(host: Path) -> None:
    (host / "host.py").write_text(CODE)
    python = python_with(*BARE)

    assert "Success" in run(python, "-m", "mypy", "--strict", "host.py", cwd=host)
    told = run(python, "-m", "mypy", "--strict", "wrong.py", cwd=host, fails=True)
    assert "Found 4 errors" in told  # Django's own methods are unknown


@pytest.mark.parametrize("requirements", [STUBS, BARE], ids=["with stubs", "without stubs"])
def test_pyright(host: Path, requirements: tuple[str, ...]) -> None:
    if requirements is BARE:
        (host / "host.py").write_text(CODE)
    python = python_with(*requirements, "pyright[nodejs]")

    assert "0 errors" in run(python, "-m", "pyright", "--pythonpath", python, "host.py", cwd=host)
    told = run(python, "-m", "pyright", "--pythonpath", python, "wrong.py", cwd=host, fails=True)
    assert ("5 errors" if requirements is STUBS else "4 errors") in told
