"""A host's DRF settings, classes and transactions change nothing about how a delivery is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client, RequestFactory, TestCase, override_settings
from django.urls import include, path
from rest_framework import authentication, permissions
from rest_framework.settings import DEFAULTS, IMPORT_STRINGS, api_settings, perform_import

from tasks.models import RejectedDelivery
from tasks.views import TaskWebhookView
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body
from tests.hosts.odd_cases import answers, to_deliveries
from tests.hosts.odd_values import ODD

urlpatterns = [path("<slug:tenant>/api/v1/", include("tasks.urls"))]
DELIVERIES = [200, 401, 401, 403, 409, 413, 415, 422, 422, 422, 429, 200, 405, 401]
OTHERS = [200, 200, 200, 400, 401, 400, 400, 400, 429, 405, 200, 200, 200, 200, 200, 401, 404]


@pytest.fixture(scope="module")
def expected(django_db_setup: None, django_db_blocker: Any) -> list[Any]:
    """The answers of a host that sets nothing for DRF."""
    with django_db_blocker.unblock(), rolled_back():
        return answers()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ODD)
def test_no_setting_of_the_hosts_changes_an_answer(
    name: str, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``hosts/test_rest_framework_settings.py`` sets all of them, before DRF is imported."""
    value = perform_import(ODD[name][0], name) if name in IMPORT_STRINGS else ODD[name][0]
    monkeypatch.setattr(api_settings, name, value, raising=False)
    assert answers() == expected


@pytest.mark.django_db
def test_the_answers_are_of_every_kind(expected: list[Any]) -> None:
    statuses = [status for status, *_ in expected]
    assert statuses[: len(DELIVERIES)] == DELIVERIES
    assert statuses[len(DELIVERIES) :] == OTHERS
    assert set(DEFAULTS) <= set(ODD)


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_the_view_takes_nothing_from_the_hosts_settings() -> None:
    for name in (
        "renderer_classes", "parser_classes", "authentication_classes", "throttle_classes", "schema",
        "permission_classes", "content_negotiation_class", "metadata_class", "versioning_class", "settings",
    ):  # fmt: skip
        assert name in vars(TaskWebhookView), name


@pytest.mark.django_db
@override_settings(ROOT_URLCONF=__name__)
def test_under_a_prefix_that_captures() -> None:
    assert [answer.status_code for answer in to_deliveries("/alpha/api/v1/tasks/webhook")] == DELIVERIES
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
            assert [answer.status_code for answer in to_deliveries(WEBHOOK)] == DELIVERIES
            assert not connection.needs_rollback
            kept = sorted(RejectedDelivery.objects.values_list("status", flat=True))
            assert kept == [413, 415, 422, 422, 422]
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = before


def test_the_view_is_outside_the_transactions_of_every_database() -> None:
    assert TaskWebhookView.as_view()._non_atomic_requests == set(connections)
    assert connection.alias in set(connections)
