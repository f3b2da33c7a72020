"""What the endpoints answer to requests of each kind, whatever a host sets for DRF.

``test_rest_framework_settings.py`` runs the case by Django's own runner, with ``odd_settings.py``.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.test import Client, TestCase, override_settings

from tasks.auth.clients import create_compute_client
from tests import factories
from tests.conftest import WEBHOOK

Answer = list[Any]
TOKEN = "/api/v1/login/access-token"
#: What the headers and the query of a request may make of it, by versioning, negotiation or proxies.
ODD_HEADERS = {
    "Accept": "text/shout; version=9",
    "X-Forwarded-For": "192.0.2.1, 192.0.2.2",
    "Host": "v9.localhost",
}
ODD_QUERY = "?odd=shout&version=9&format=api"
#: The names of what differs from run to run.
_VARIES = re.compile(rb'("(?:id|access_token|refresh_token)": ?)(?:"[^"]*"|\d+)')


def answers() -> list[Answer]:
    """Return each endpoint's answers to requests of each kind, without the parts that differ each time."""
    return [_told(answer) for answer in (*to_deliveries(WEBHOOK), *_to_token_requests(), *_to_others())]


def _told(answer: Any) -> Answer:
    names = ("Content-Type", "WWW-Authenticate", "Retry-After", "Allow", "Location", "Vary")
    content = _VARIES.sub(rb"\1...", answer.content).decode("utf-8", "backslashreplace")
    content = re.sub(r"available in \d+ second", "available in ... second", content)
    headers = [answer.get(name) for name in names if name != "Retry-After"]
    return [answer.status_code, *headers, answer.get("Retry-After") is not None, content]


def to_deliveries(webhook: str) -> list[Any]:
    """Return the answers to deliveries of each kind at the path ``webhook``."""
    good, bad = (
        Client(headers=ODD_HEADERS | {"Authorization": f"Bearer {factories.client_token()}"}),
        Client(),
    )
    other = Client(headers={"Authorization": f"Bearer {factories.token(scope='another')}"})
    full, known = factories.full_body(), {"Idempotency-Key": "a"}

    def post(client: Client, content: Any, type_: str = "application/json", **extra: Any) -> Any:
        return client.post(webhook + ODD_QUERY, content, content_type=type_, **extra)

    return [
        post(good, full, headers=known),
        post(bad, full),
        post(bad, full, headers={"Authorization": "Bearer unknown"}),
        post(other, full),
        post(good, full | {"progress": 6}, headers=known),
        post(good, b" " * 1_048_577),
        post(good, full, "text/plain"),
        post(good, full | {"progress": 101, "task_id": "\u00e9", "completed_at": "01.05.26"}),
        post(good, b"[]"),
        post(good, b'{"progress": NaN}'),
        _throttled("THROTTLE_DELIVERIES", lambda: post(good, full)),
        good.options(webhook),
        good.get(webhook),
        bad.get(webhook),
    ]


def _to_token_requests() -> list[Any]:
    client, secret = create_compute_client(f"cluster-{next(factories.numbers)}")
    user = factories.user()
    login = {"username": user.get_username(), "password": "password"}
    machine = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": secret}
    browser = Client(headers=ODD_HEADERS)
    return [
        browser.post(TOKEN, machine),
        browser.post(TOKEN, login),
        browser.post(f"{TOKEN}/", login),
        browser.post(TOKEN, login | {"password": "wrong"}),
        browser.post(TOKEN, machine | {"client_secret": "wrong"}),
        browser.post(TOKEN, {}),
        browser.post(TOKEN, json.dumps(login), content_type="application/json"),
        browser.post(f"{TOKEN}?format=api", login),
        _throttled("THROTTLE_TOKEN_REQUESTS", lambda: browser.post(TOKEN, login)),
        browser.get(TOKEN),
        browser.options(TOKEN),
    ]


def _to_others() -> list[Any]:
    browser = Client(headers=ODD_HEADERS)
    paths = ("/api/v1/openapi.json", "/api/v1/docs", "/healthz", "/readyz", "/metrics", "/api/v1/nothing")
    with override_settings(SARTIQ_TASKS={**settings.SARTIQ_TASKS, "METRICS_TOKEN": "a" * 16}):
        return [browser.get(path + ODD_QUERY) for path in paths]


def _throttled(setting: str, ask: Any) -> Any:
    """Return the answer to the second request, if one a day is allowed."""
    with override_settings(SARTIQ_TASKS={**settings.SARTIQ_TASKS, setting: "1/day"}):
        cache.clear()
        ask()
        answer = ask()
    cache.clear()
    return answer


class UnderOddSettings(TestCase):
    """The answers are those without the odd settings."""

    maxDiff = None

    def test_they_are_as_expected(self) -> None:
        """Compare with the answers that the environment holds."""
        assert answers() == json.loads(os.environ["EXPECTED"])
