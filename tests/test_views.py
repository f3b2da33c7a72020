"""The webhook over requests: what comes in, what is answered."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import Client, RequestFactory
from django.urls import resolve
from rest_framework.permissions import BasePermission

from tasks.models import RejectedDelivery, Task, TaskStatusEvent
from tasks.views import TaskWebhookView
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body, full_body
from tests.servers import manage, serving

pytestmark = pytest.mark.django_db


def test_a_stored_event_and_its_duplicate(post: Any) -> None:
    first, again = post(full_body()), post(full_body())

    event = TaskStatusEvent.objects.get()
    assert (first.status_code, first.json()) == (
        200,
        {"id": event.pk, "task_id": "task-1", "duplicate": False},
    )
    assert (again.status_code, again.json()) == (
        200,
        {"id": event.pk, "task_id": "task-1", "duplicate": True},
    )
    assert (event.deliveries, event.source) == (2, Task.objects.get().last_event.source)
    assert event.source.startswith("cluster-")


@pytest.mark.parametrize("path", ["/api/v1/tasks/webhook", "/api/v1/tasks/webhook/"])
def test_with_and_without_a_final_slash(path: str) -> None:
    client = Client(headers={"Authorization": f"Bearer {factories.client_token()}"})

    assert client.post(path, body(), content_type="application/json").status_code == 200
    assert vars(resolve(path).func)["csrf_exempt"]


def asks_for_the_user(get_response: Any) -> Any:
    """Middleware of a host that looks at the user after the view."""

    def middleware(request: Any) -> Any:
        response = get_response(request)
        response["Is-Authenticated"] = str(request.user.is_authenticated)
        return response

    return middleware


@pytest.mark.parametrize(("sent", "status"), [(full_body(), 200), (b"{}", 422)])
def test_middleware_finds_a_user_though_a_client_has_none(
    post: Any, settings: Any, sent: Any, status: int
) -> None:
    settings.MIDDLEWARE = [f"{__name__}.asks_for_the_user", *settings.MIDDLEWARE]

    answers = [post(sent) for _ in range(2)]

    assert [(answer.status_code, answer["Is-Authenticated"]) for answer in answers] == [(status, "False")] * 2


@pytest.mark.parametrize("header", ["Idempotency-Key", "webhook-id"])
def test_the_senders_own_key(post: Any, header: str) -> None:
    first = post(body(), headers={header: "a-1"})
    other = post(body(), headers={header: "a-2"})
    again = post(body(), headers={header: "a-1"})

    assert [answer.json()["duplicate"] for answer in (first, other, again)] == [False, False, True]
    assert again.json()["id"] == first.json()["id"] != other.json()["id"]
    assert bytes(TaskStatusEvent.objects.get(pk=first.json()["id"]).idempotency_key) == b"a-1"


def test_a_key_is_the_headers_bytes(post: Any) -> None:
    post(body(), headers={"Idempotency-Key": "schl\u00fcssel".encode().decode("latin-1")})

    assert bytes(TaskStatusEvent.objects.get().idempotency_key) == "schl\u00fcssel".encode()


def test_idempotency_key_goes_before_webhook_id(post: Any) -> None:
    answer = post(body(), headers={"Idempotency-Key": "a", "webhook-id": "b"})

    assert bytes(TaskStatusEvent.objects.get(pk=answer.json()["id"]).idempotency_key) == b"a"


def test_a_key_used_for_another_body_is_409(post: Any) -> None:
    post(body(progress=5), headers={"Idempotency-Key": "a"})
    answer = post(body(progress=6), headers={"Idempotency-Key": "a"})

    assert answer.status_code == 409
    assert "another body" in answer.json()["detail"]
    assert TaskStatusEvent.objects.get().progress == 5


def test_a_violation_is_422_with_its_items(post: Any) -> None:
    answer = post(body(progress=101))

    assert answer.status_code == 422
    assert [item["loc"][-1] for item in answer.json()["detail"]] == ["constrained-float", "constrained-int"]
    assert '"ctx":{"le":100.0}' in answer.text
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_another_media_type_is_415(post: Any, content_type: str) -> None:
    answer = post(json.dumps(body()).encode(), content_type=content_type)

    assert answer.status_code == 415
    assert content_type in answer.json()["detail"]


@pytest.mark.parametrize("content_type", ["application/json", "application/cloudevents+json", ""])
def test_json_by_any_of_its_names(post: Any, content_type: str) -> None:
    assert post(json.dumps(body()).encode(), content_type=content_type).status_code == 200


@pytest.mark.parametrize(("extra", "status"), [(0, 200), (1, 413)])
def test_a_body_over_the_limit_is_413(post: Any, settings: Any, extra: int, status: int) -> None:
    text = json.dumps(body()).encode()
    settings.SARTIQ_TASKS = {"MAX_BODY_BYTES": len(text)}

    answer = post(text + b" " * extra)

    assert answer.status_code == status
    if status == 413:
        assert answer.json() == {"detail": f"The body is longer than {len(text)} bytes."}


def test_a_body_that_ends_early_is_400_and_nothing_is_kept_of_it(post: Any) -> None:
    answer = post(b"{}", **{"wsgi.input": BytesIO(b"{")})

    assert answer.status_code == 400
    assert not RejectedDelivery.objects.exists()


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "nonsense", "*/*;q=0", ""])
def test_an_odd_accept_loses_no_event(post: Any, accept: str) -> None:
    answer = post(body(), headers={"Accept": accept})

    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_other_methods_are_405(method: str) -> None:
    client = Client(headers={"Authorization": f"Bearer {factories.client_token()}"})
    answer = getattr(client, method)(WEBHOOK)

    assert answer.status_code == 405
    assert "POST" in answer["Allow"]


def test_a_backends_own_exception_handler_does_not_change_the_answers(post: Any, settings: Any) -> None:
    settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": "rest_framework.views.nonexistent"}

    assert post(body(progress=101)).status_code == 422


class KnowsTheTask(BasePermission):
    """A permission of a host's that looks at the event before it is read as one."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.data["task_id"].startswith("ours-"))


@pytest.mark.parametrize(
    ("content", "status"),
    [(body(task_id="ours-1"), 200), (body(task_id="theirs"), 403), (b"{", 400), (b'"' + b"x" * 2000, 413)],
)
def test_a_host_may_look_at_the_event_before(
    rf: RequestFactory, settings: Any, content: Any, status: int
) -> None:
    settings.SARTIQ_TASKS = {"MAX_BODY_BYTES": 1000}

    class Hosts(TaskWebhookView):
        authentication_classes, permission_classes = (), (KnowsTheTask,)

    answer = Hosts.as_view()(rf.post("/", content, content_type="application/json"))

    assert answer.status_code == status
    assert [event.task_id for event in TaskStatusEvent.objects.all()] == (["ours-1"] if status == 200 else [])


@pytest.mark.parametrize(("error", "status"), [(PermissionDenied("not now"), 403), (Http404("gone"), 404)])
def test_djangos_own_exceptions_are_answered_as_drfs_are(
    rf: RequestFactory, error: Exception, status: int
) -> None:
    class Hosts(TaskWebhookView):
        authentication_classes = permission_classes = ()

        def record(self, *args: Any) -> Any:
            raise error

    answer = Hosts.as_view()(rf.post("/", body(), content_type="application/json")).render()

    assert (answer.status_code, json.loads(answer.content)) == (status, {"detail": str(error)})


def test_32_identical_posts_at_once(own_database: str) -> None:
    with serving(own_database) as server:
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda _: server.post(full_body()), range(32)))
        told = "from tasks.models import *; print(*TaskStatusEvent.objects.values_list('pk', 'deliveries'))"
        stored = manage("shell", "-v", "0", "-c", told, database_url=own_database)

    assert [answer.status_code for answer in answers] == [200] * 32
    (event_id,) = {answer.json()["id"] for answer in answers}
    assert [answer.json()["duplicate"] for answer in answers].count(False) == 1
    assert stored.strip() == f"({event_id}, 32)"
