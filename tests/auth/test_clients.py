"""OAuth 2 clients, and the token endpoint that they use."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from oauth2_provider.models import get_access_token_model, get_application_model

from tasks.auth.clients import PASSWORD_CLIENT_ID, compute_client, create_compute_client, issue_token
from tasks.models import TaskStatusEvent
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body

pytestmark = pytest.mark.django_db
TOKEN = "/api/v1/login/access-token"


def post_event(token: str, **changes: Any) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    answer = Client().post(WEBHOOK, body(**changes), content_type="application/json", headers=headers)
    return answer.status_code


def test_a_compute_client_posts_with_its_own_token() -> None:
    client, secret = create_compute_client("cluster")
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": secret}

    answer = Client().post(TOKEN, form)

    assert answer.status_code == 200
    assert answer.json()["token_type"] == "Bearer"
    assert answer.json()["expires_in"] == 36_000
    assert post_event(answer.json()["access_token"]) == 200
    assert secret not in str(get_application_model().objects.values().get())


def test_client_credentials_by_basic_authorization() -> None:
    client, secret = create_compute_client("cluster")
    basic = base64.b64encode(f"{client.client_id}:{secret}".encode()).decode()

    answer = Client().post(
        TOKEN, {"grant_type": "client_credentials"}, headers={"Authorization": f"Basic {basic}"}
    )

    assert answer.status_code == 200


def test_a_wrong_secret_is_rejected() -> None:
    client, _ = create_compute_client("cluster")
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": "wrong"}

    assert Client().post(TOKEN, form).status_code == 401


def test_names_of_clients_are_unique() -> None:
    create_compute_client("cluster")

    with pytest.raises(ValueError, match="'cluster' already"):
        create_compute_client("cluster")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", ["IMMEDIATE", None])
def test_of_clients_that_are_created_at_once_one_gets_the_name(mode: str | None) -> None:
    """In both transaction modes of SQLite: the project's, and Django's own."""
    together = Barrier(8, timeout=60)

    def create(_number: int) -> str | None:
        connection.ensure_connection()
        connections["default"].transaction_mode = mode  # type: ignore[attr-defined]
        together.wait()
        try:
            create_compute_client("cluster")
        except ValueError as error:
            return str(error)
        finally:
            connection.close()
        return None

    with ThreadPoolExecutor(8) as pool:
        faults = list(pool.map(create, range(8)))

    assert faults.count(None) == get_application_model().objects.count() == 1


def test_a_name_of_two_clients_means_the_first() -> None:
    """Nothing keeps a host from making a second one in django-oauth-toolkit's own pages."""
    first, _ = create_compute_client("cluster")
    second, _ = create_compute_client("other")
    get_application_model().objects.filter(pk=second.pk).update(name="cluster")

    assert compute_client("cluster").pk == first.pk


def test_a_token_is_stored_as_its_checksum() -> None:
    client, _ = create_compute_client("cluster")
    token = issue_token(client)

    assert token not in str(get_access_token_model().objects.values().get())
    assert post_event(token) == 200


@pytest.mark.parametrize(
    "rest", [{}, {"grant_type": "password"}, {"grant_type": "", "scope": "", "client_id": ""}]
)
@pytest.mark.parametrize("path", [TOKEN, TOKEN + "/"])
def test_the_password_form(rest: dict[str, str], path: str) -> None:
    user = factories.user("add_taskstatusevent", username="ada")

    answer = Client().post(path, {"username": "ada", "password": "password", **rest})

    assert answer.status_code == 200
    assert set(answer.json()) >= {"access_token", "token_type", "expires_in"}
    assert post_event(answer.json()["access_token"]) == 200
    assert get_access_token_model().objects.get().user == user
    assert get_application_model().objects.get().client_id == PASSWORD_CLIENT_ID


def test_the_password_form_twice_uses_one_client() -> None:
    factories.user(username="ada")
    for _ in range(2):
        Client().post(TOKEN, {"username": "ada", "password": "password"})

    assert get_application_model().objects.count() == 1


@pytest.mark.parametrize("username", ["ada", "nobody"])
def test_wrong_passwords_all_get_the_same_answer(username: str) -> None:
    factories.user(username="ada")

    answer = Client().post(TOKEN, {"username": username, "password": "wrong"})

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert answer.json()["error_description"] == "Invalid credentials given."


def test_a_password_client_of_ones_own_is_left_alone() -> None:
    factories.user("add_taskstatusevent", username="ada")
    own = factories.application(client_type="public", authorization_grant_type="password")

    answer = Client().post(TOKEN, {"username": "ada", "password": "password", "client_id": own.client_id})

    assert answer.status_code == 200
    assert get_access_token_model().objects.get().application == own


def test_the_source_is_the_user_of_the_token_otherwise_its_client() -> None:
    client, _ = create_compute_client("cluster")
    ada = factories.user("add_taskstatusevent", username="ada")
    post_event(issue_token(client), task_id="a")
    post_event(factories.token(user=ada, application=client), task_id="b")

    assert dict(TaskStatusEvent.objects.values_list("task_id", "source")) == {"a": "cluster", "b": "ada"}
