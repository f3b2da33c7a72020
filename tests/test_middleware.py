"""The short way for deliveries: the same answers, and nothing behind it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import clear_script_prefix, set_script_prefix

from tasks.middleware import deliveries_first
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body

pytestmark = pytest.mark.django_db
SHORT = "tasks.middleware.deliveries_first"


def counting(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Mark each answer that came by the long way."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Long-Way"] = "yes"
        return response

    return middleware


@pytest.fixture(params=[True, False], ids=["short", "long"])
def is_short(request: pytest.FixtureRequest, settings: Any) -> bool:
    others = [name for name in settings.MIDDLEWARE if name != SHORT]
    settings.MIDDLEWARE = [*([SHORT] if request.param else []), f"{__name__}.counting", *others]
    return bool(request.param)


def post(path: str = WEBHOOK, content: Any = None, **extra: Any) -> HttpResponse:
    client = Client(headers={"Authorization": f"Bearer {factories.client_token()}"})
    sent = body() if content is None else content
    return client.post(path, sent, **({"content_type": "application/json"} | extra))  # type: ignore[return-value]


@pytest.mark.parametrize("path", [WEBHOOK, f"{WEBHOOK}/"])
def test_a_delivery_is_stored_either_way(is_short: bool, path: str) -> None:
    answer = post(path)

    assert answer.status_code == 200
    assert json.loads(answer.content)["duplicate"] is False
    assert answer["Content-Length"] == str(len(answer.content))
    assert ("X-Long-Way" in answer) is not is_short


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content": {"task_id": 1}}, 422),
        ({"content_type": "text/html"}, 415),
        ({"headers": {"Authorization": "Bearer unknown"}}, 401),
        ({"headers": {"Host": "elsewhere.example"}}, 400),
    ],
)
def test_a_rejection_is_the_same_either_way(is_short: bool, sent: dict[str, Any], status: int) -> None:
    answer = post(**sent)

    assert answer.status_code == status
    assert answer.content
    assert answer.get("Content-Length") == (None if status == 400 else str(len(answer.content)))
    assert ("X-Long-Way" in answer) is not is_short


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_another_method_is_rejected_either_way(is_short: bool, method: str) -> None:
    client = Client(headers={"Authorization": f"Bearer {factories.client_token()}"})

    answer = getattr(client, method)(WEBHOOK)

    assert answer.status_code == 405
    assert answer["Allow"] == "POST, OPTIONS"


def test_an_error_is_a_500_either_way(is_short: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import views

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(views, "record_event", fail)
    client = Client(
        raise_request_exception=False, headers={"Authorization": f"Bearer {factories.client_token()}"}
    )

    assert client.post(WEBHOOK, body(), content_type="application/json").status_code == 500


@pytest.fixture
def prefix() -> Iterator[str]:
    set_script_prefix("/mounted/")
    yield "/mounted/"
    clear_script_prefix()


def test_it_knows_the_way_where_the_project_is_mounted(prefix: str) -> None:
    def long_way(request: HttpRequest) -> HttpResponse:
        raise AssertionError("the long way")

    request = RequestFactory().post(WEBHOOK, SCRIPT_NAME=prefix.rstrip("/"))

    assert deliveries_first(long_way)(request).status_code == 401


def test_everything_else_goes_the_long_way(is_short: bool) -> None:
    assert Client().get("/healthz")["X-Long-Way"] == "yes"
    assert Client().get(f"{WEBHOOK}s").status_code == 404
