"""Authentication: every unusable token gets the same answer after the same queries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from oauth2_provider.models import get_access_token_model

from tasks.models import TaskStatusEvent
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body

pytestmark = pytest.mark.django_db

INVALID = (401, {"detail": "Could not validate credentials"}, "Bearer")
NONE_AT_ALL = (401, {"detail": "Not authenticated"}, "Bearer")
NOT_ALLOWED = (403, {"detail": "Not enough permissions"}, None)


def post(authorization: str | None, **extra: Any) -> HttpResponse:
    headers = {} if authorization is None else {"Authorization": authorization}
    return Client().post(WEBHOOK, body(), content_type="application/json", headers=headers, **extra)  # type: ignore[return-value]


def answer(response: Any) -> tuple[int, Any, str | None]:
    return response.status_code, response.json(), response.get("WWW-Authenticate")


def expired() -> str:
    return factories.token(expires=datetime.now(UTC) - timedelta(seconds=1))


def revoked() -> str:
    token = factories.token()
    get_access_token_model().objects.get().revoke()
    return token


def of_an_inactive_user() -> str:
    return factories.token(user=factories.user("add_taskstatusevent", is_active=False))


def for_another_audience() -> str:
    return factories.token(resource=["https://other.example.org/api"])


def of_a_deleted_application() -> str:
    application = factories.application()
    token = factories.token(application=application)
    application.delete()
    return token


def unknown() -> str:
    return "never-issued"


BAD = [expired, revoked, of_an_inactive_user, for_another_audience, of_a_deleted_application, unknown]


@pytest.mark.parametrize("make", BAD)
def test_an_invalid_token(make: Any) -> None:
    response = post(f"Bearer {make()}")

    assert answer(response) == INVALID
    assert not TaskStatusEvent.objects.exists()


@pytest.mark.parametrize("make", BAD)
def test_no_answer_tells_which_tokens_exist(make: Any) -> None:
    token = make()
    with CaptureQueriesContext(connection) as queries:
        response = post(f"Bearer {token}")
    with CaptureQueriesContext(connection) as queries_of_unknown:
        response_to_unknown = post("Bearer never-issued")

    assert response.content == response_to_unknown.content
    headers, headers_to_unknown = dict(response.headers), dict(response_to_unknown.headers)
    assert headers.pop("X-Request-ID") != headers_to_unknown.pop("X-Request-ID")
    assert headers == headers_to_unknown
    assert len(queries) == len(queries_of_unknown) == 1


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Token abc", "bearer:abc", "Bearer\tabc"]
)
def test_no_token_at_all(authorization: str | None) -> None:
    assert answer(post(authorization)) == NONE_AT_ALL


@pytest.mark.parametrize(
    "token",
    ["x" * 8000, "\u00e9\u00ff", "a b c", "'; DROP TABLE oauth2_provider_accesstoken; --", "%00", "=" * 40],
)
def test_an_odd_token(token: str) -> None:
    assert answer(post(f"Bearer {token}")) == INVALID


def test_a_token_of_a_user_who_was_deactivated_later() -> None:
    user = factories.user("add_taskstatusevent")
    token = factories.token(user=user)
    before = post(f"Bearer {token}").status_code
    user.is_active = False
    user.save()

    assert (before, answer(post(f"Bearer {token}"))) == (200, INVALID)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_scheme_in_any_letter_case(scheme: str) -> None:
    assert post(f"{scheme} {factories.client_token()}").status_code == 200


@pytest.mark.parametrize("scope", ["", "read", "tasks:webhooks", "tasks webhook", "read write"])
def test_a_token_without_the_scope(scope: str) -> None:
    assert answer(post(f"Bearer {factories.token(scope=scope)}")) == NOT_ALLOWED


def test_a_token_of_another_application_without_the_scope() -> None:
    other = factories.application(authorization_grant_type="authorization-code")
    token = factories.token(application=other, scope="read", user=factories.user("add_taskstatusevent"))

    assert answer(post(f"Bearer {token}")) == NOT_ALLOWED


@pytest.mark.parametrize("scope", ["tasks:webhook", "read tasks:webhook"])
def test_a_token_with_the_scope(scope: str) -> None:
    assert post(f"Bearer {factories.token(scope=scope)}").status_code == 200


def test_the_scope_is_a_setting(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"SCOPE": "cluster"}
    tokens = [factories.token(), factories.token(scope="cluster")]

    assert [post(f"Bearer {token}").status_code for token in tokens] == [403, 200]


@pytest.mark.parametrize(
    ("permissions", "status"), [([], 403), (["view_task"], 403), (["add_taskstatusevent"], 200)]
)
def test_a_users_token_needs_the_permission_to_add_events(permissions: list[str], status: int) -> None:
    token = factories.token(user=factories.user(*permissions))

    assert post(f"Bearer {token}").status_code == status


@pytest.mark.parametrize(
    ("resource", "status"),
    [
        ([], 200),
        (["http://testserver"], 200),
        (["http://testserver/api/v1"], 200),
        (["https://other.example.org", f"http://testserver{WEBHOOK}"], 200),
        ([f"http://testserver{WEBHOOK}/more"], 401),
        (["http://testserver/api/v2"], 401),
        (["http://testserver.example.org"], 401),
        (["https://testserver"], 401),
    ],
)
def test_the_audience(resource: list[str], status: int) -> None:
    assert post(f"Bearer {factories.token(resource=resource)}").status_code == status


def test_credentials_are_judged_before_the_body_is_read(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"MAX_BODY_BYTES": 1}

    answers = [
        Client().post(
            WEBHOOK, b"x" * 100, content_type="text/plain", headers={"Authorization": authorization}
        )
        for authorization in ("", "Bearer never-issued", f"Bearer {factories.token(scope='read')}")
    ]

    assert [response.status_code for response in answers] == [401, 401, 403]


def test_the_token_itself_is_nowhere_in_the_answer() -> None:
    token = expired()

    assert token not in post(f"Bearer {token}").serialize().decode()
