"""The shortcut for deliveries: the same answers, past all other middleware."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import clear_script_prefix, include, path, set_script_prefix
from django.utils.decorators import sync_and_async_middleware
from rest_framework.permissions import BasePermission

from tasks.middleware import deliveries_first
from tasks.views import TaskWebhookView
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body

pytestmark = pytest.mark.django_db
SHORT = "tasks.middleware.deliveries_first"


@sync_and_async_middleware
def counting(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Mark each answer that came by the long way."""

    async def async_middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = await get_response(request)
        response["X-Long-Way"] = "async"
        return response

    def middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = get_response(request)
        response["X-Long-Way"] = "sync"
        return response

    return async_middleware if iscoroutinefunction(get_response) else middleware


@pytest.fixture(params=[True, False], ids=["short", "long"])
def is_short(request: pytest.FixtureRequest, settings: Any) -> bool:
    # Django's own work under either interface; a synchronous one would keep the others synchronous.
    others = [name for name in settings.MIDDLEWARE if name.startswith("django.")]
    settings.MIDDLEWARE = [*([SHORT] if request.param else []), f"{__name__}.counting", *others]
    return bool(request.param)


@pytest.fixture(params=["sync", "async"])
def server(request: pytest.FixtureRequest) -> str:
    """The interface that requests come by: WSGI's or ASGI's."""
    return str(request.param)


def send(server: str, path: str = WEBHOOK, content: Any = None, method: str = "post", **extra: Any) -> Any:
    client: Any = {"sync": Client, "async": AsyncClient}[server](raise_request_exception=False)
    token = {"Authorization": f"Bearer {factories.client_token()}"}
    sent = (body() if content is None else content,) if method == "post" else ()
    extra = {"content_type": "application/json"} | extra | {"headers": token | extra.pop("headers", {})}
    function = getattr(client, method)
    return (async_to_sync(function) if server == "async" else function)(path, *sent, **extra)


@pytest.mark.parametrize("path", [WEBHOOK, f"{WEBHOOK}/"])
def test_a_delivery_is_stored_either_way(is_short: bool, server: str, path: str) -> None:
    answer = send(server, path)

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
def test_a_rejection_is_the_same_either_way(
    is_short: bool, server: str, sent: dict[str, Any], status: int
) -> None:
    answer = send(server, **sent)

    assert answer.status_code == status
    assert answer.content
    assert answer.get("Content-Length") == (None if status == 400 else str(len(answer.content)))
    assert ("X-Long-Way" in answer) is not is_short


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_another_method_is_rejected_either_way(is_short: bool, server: str, method: str) -> None:
    answer = send(server, method=method)

    assert answer.status_code == 405
    assert answer["Allow"] == "POST, OPTIONS"


def test_an_error_is_a_500_either_way(is_short: bool, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import views

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(views, "record_event", fail)

    assert send(server).status_code == 500


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


def test_everything_else_goes_the_long_way(is_short: bool, server: str) -> None:
    assert send(server, "/healthz", method="get")["X-Long-Way"] == server
    assert send(server, f"{WEBHOOK}s").status_code == 404


class Nobody(BasePermission):
    """Nobody may post."""

    def has_permission(self, request: Any, view: Any) -> bool:
        """Return that they may not."""
        return False


class OwnView(TaskWebhookView):
    """A host's own, in front of the app's."""

    permission_classes = (Nobody,)


def foreign_view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    return HttpResponse(status=418)


class Urls:
    """URLs of a host in which something else stands at the webhook's path."""

    def __init__(self, view: Any) -> None:
        paths = [path(one, view, {"given": "by the URLs"}) for one in ("tasks/webhook", "tasks/webhook/")]
        self.urlpatterns = [path("api/v1/", include(paths)), path("api/v1/", include("tasks.urls"))]


@pytest.mark.parametrize(("view", "status"), [(OwnView.as_view(), 403), (foreign_view, 418)])
def test_what_the_urls_have_at_its_path_answers(
    is_short: bool, server: str, settings: Any, view: Any, status: int
) -> None:
    settings.ROOT_URLCONF = Urls(view)

    assert send(server).status_code == status


@sync_and_async_middleware
def other_urls(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Give each request other URLs, as hosts with several domains do."""

    def change(request: HttpRequest) -> HttpRequest:
        request.urlconf = Urls(foreign_view)  # type: ignore[assignment]
        return request

    async def async_middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = await get_response(change(request))
        return response

    def middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = get_response(change(request))
        return response

    return async_middleware if iscoroutinefunction(get_response) else middleware


def test_a_request_with_urls_of_its_own_goes_by_those(is_short: bool, server: str, settings: Any) -> None:
    settings.MIDDLEWARE = [f"{__name__}.other_urls", *settings.MIDDLEWARE]

    assert send(server).status_code == 418
