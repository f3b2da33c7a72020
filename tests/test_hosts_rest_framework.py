"""A host's DRF settings, classes and transactions change nothing about how a delivery is answered."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client, RequestFactory, TestCase, override_settings
from django.urls import include, path
from rest_framework import authentication, permissions, versioning
from rest_framework.settings import DEFAULTS, api_settings

from tasks.models import RejectedDelivery
from tasks.views import TaskWebhookView
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body

urlpatterns = [path("<slug:tenant>/api/v1/", include("tasks.urls"))]
ODD: dict[str, Any] = {
    "UNAUTHENTICATED_USER": lambda: object(),
    "UNAUTHENTICATED_TOKEN": lambda: "an odd token",
    "EXCEPTION_HANDLER": lambda error, context: None,
    "DEFAULT_VERSIONING_CLASS": versioning.AcceptHeaderVersioning,
    "NUM_PROXIES": -7,
    "FORMAT_SUFFIX_KWARG": "tenant",
    "UNICODE_JSON": False,
    "COMPACT_JSON": False,
    "STRICT_JSON": False,
}
KEY = {"X-Api-Key": "a"}
ANSWERS = [200, 401, 403, 409, 413, 415, 422]


def answers(url: str = WEBHOOK) -> list[tuple[int, bytes, Any]]:
    """Return the answers to deliveries of each kind, without what differs from run to run."""
    good = Client(headers={"Authorization": f"Bearer {factories.client_token()}"})
    other = Client(headers={"Authorization": f"Bearer {factories.token(scope='another')}"})
    known = {"headers": {"Idempotency-Key": "a"}, "content_type": "application/json"}
    sent = [
        good.post(url, body(), **known),
        Client().post(url, body(), content_type="application/json"),
        other.post(url, body(), content_type="application/json"),
        good.post(url, body(progress=6), **known),
        good.post(url, b" " * 1_048_577, content_type="application/json"),
        good.post(url, b"{}", content_type="text/plain"),
        good.post(url, body(progress=101, task_id="\u00e9"), content_type="application/json"),
    ]
    first = json.loads(sent[0].content)
    assert first.pop("id")
    return [
        (answer.status_code, json.dumps(first).encode() if answer is sent[0] else answer.content,
         answer.get("WWW-Authenticate"))
        for answer in sent
    ]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_no_setting_of_the_hosts_changes_an_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection_rolled_back():
        expected = answers()
    monkeypatch.setattr(api_settings, name, ODD.get(name), raising=False)
    with connection_rolled_back():
        assert answers() == expected
    assert [status for status, *_ in expected] == ANSWERS


def connection_rolled_back() -> Any:
    from contextlib import contextmanager

    from django.db import transaction

    @contextmanager
    def block() -> Any:
        with transaction.atomic():
            yield
            transaction.set_rollback(True)

    return block()


def test_the_view_takes_nothing_from_the_hosts_settings() -> None:
    for name in (
        "renderer_classes", "parser_classes", "authentication_classes", "throttle_classes", "schema",
        "permission_classes", "content_negotiation_class", "metadata_class", "versioning_class", "settings",
    ):  # fmt: skip
        assert name in vars(TaskWebhookView), name


@pytest.mark.django_db
@override_settings(ROOT_URLCONF=__name__)
def test_under_a_prefix_that_captures() -> None:
    assert [status for status, *_ in answers("/alpha/api/v1/tasks/webhook")] == ANSWERS
    assert Client().post("/alpha/api/v1/login/access-token").status_code == 400


class Nobody(permissions.BasePermission):
    """Nobody may post."""

    def has_permission(self, request: Any, view: Any) -> bool:
        """Return that they may not."""
        return False


class Known(authentication.BaseAuthentication):
    """Credentials of a host's own, without anything of Django's."""

    def authenticate(self, request: Any) -> Any:
        """Let a name in."""
        name = request.headers.get("X-Api-Key")
        return (SimpleNamespace(is_authenticated=True), {"key": name}) if name else None


class TestOtherCredentials:
    """Without a permission to post it is 403, never 500."""

    @pytest.mark.django_db
    @pytest.mark.parametrize(
        ("codenames", "status"), [((), 403), (("view_task",), 403), (("add_taskstatusevent",), 200)]
    )
    def test_a_user_without_a_token_needs_the_permission(self, codenames: Any, status: int) -> None:
        user = factories.user(*codenames)

        class Always(authentication.BaseAuthentication):
            def authenticate(self, request: Any) -> Any:
                return user, None

        view: Any = TaskWebhookView.as_view(authentication_classes=[Always])
        request = RequestFactory().post("/", json.dumps(body()), content_type="application/json")
        assert view(request).status_code == status

    @pytest.mark.django_db
    @pytest.mark.parametrize(
        ("given", "status"),
        [
            (["tests.test_hosts_rest_framework.Known"], 403),
            (["rest_framework.authentication.BasicAuthentication"], 401),
            (["rest_framework.authentication.SessionAuthentication"], 403),
        ],
    )
    def test_by_the_setting(self, settings: Any, given: list[str], status: int) -> None:
        settings.SARTIQ_TASKS = {"AUTHENTICATION_CLASSES": given}
        client = Client(headers={"X-Api-Key": "ada"})
        assert client.post(WEBHOOK, body(), content_type="application/json").status_code == status


@pytest.mark.django_db
def test_a_subclass_and_as_view_win_over_the_setting(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"PERMISSION_CLASSES": ["tests.test_hosts_rest_framework.Nobody"]}

    class Open(TaskWebhookView):
        authentication_classes = (Known,)
        permission_classes = (permissions.IsAuthenticated,)

    def post(view: Any) -> int:
        request = RequestFactory().post(
            "/", json.dumps(body()), content_type="application/json", HTTP_X_API_KEY="a"
        )
        return int(view(request).status_code)

    assert post(Open.as_view()) == 200
    assert post(TaskWebhookView.as_view(authentication_classes=[Known])) == 403
    assert post(TaskWebhookView.as_view(authentication_classes=[], permission_classes=[])) == 200


class InAHostsTransaction(TestCase):
    """A rejection is answered and kept in a host's TestCase, and the next query works."""

    def test_every_rejection(self) -> None:
        connection = connections["default"]
        before = connection.settings_dict["ATOMIC_REQUESTS"]
        connection.settings_dict["ATOMIC_REQUESTS"] = True
        try:
            assert [status for status, *_ in answers()] == ANSWERS
            assert not connection.needs_rollback
            assert sorted(RejectedDelivery.objects.values_list("status", flat=True)) == [413, 415, 422]
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = before


def test_the_view_is_outside_the_transactions_of_every_database() -> None:
    assert TaskWebhookView.as_view()._non_atomic_requests == set(connections)
    assert connection.alias in set(connections)
