"""A host that has ``LoginRequiredMiddleware``: the app's endpoints answer for themselves."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body

pytestmark = pytest.mark.django_db
LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"
SHORT = "tasks.middleware.deliveries_first"
TOKEN = "/api/v1/login/access-token"
METRICS_TOKEN = "a token for Prometheus"


@pytest.fixture(autouse=True, params=[True, False], ids=["short", "long"])
def login_required(request: pytest.FixtureRequest, settings: Any) -> None:
    others = [name for name in settings.MIDDLEWARE if name != SHORT]
    settings.MIDDLEWARE = [*([SHORT] if request.param else []), *others, LOGIN_REQUIRED]
    settings.SARTIQ_TASKS = {"METRICS_TOKEN": METRICS_TOKEN}


@pytest.mark.parametrize(
    ("path", "get", "post", "options"),
    [
        (WEBHOOK, 401, 401, 401),
        (f"{WEBHOOK}/", 401, 401, 401),
        (TOKEN, 405, 400, 200),
        (f"{TOKEN}/", 405, 400, 200),
        ("/api/v1/openapi.json", 200, 405, 200),
        ("/api/v1/docs", 200, 405, 200),
        ("/metrics", 401, 405, 200),
        ("/healthz", 200, 405, 405),
        ("/readyz", 200, 405, 405),
    ],
)
def test_nobody_is_sent_to_a_login_page(path: str, get: int, post: int, options: int) -> None:
    client = Client()

    answers = [client.get(path), client.post(path), client.options(path)]

    assert [answer.status_code for answer in answers] == [get, post, options]


def test_a_sender_with_a_token_is_let_in() -> None:
    sender = Client(headers={"Authorization": f"Bearer {factories.client_token()}"})
    monitor = Client(headers={"Authorization": f"Bearer {METRICS_TOKEN}"})

    assert sender.post(WEBHOOK, body(), content_type="application/json").status_code == 200
    assert sender.options(WEBHOOK).status_code == 200
    assert monitor.get("/metrics").status_code == 200


def test_the_pages_of_the_host_are_behind_the_login() -> None:
    assert Client().get("/admin/sartiq_tasks/task/").status_code == 302
