"""The cases that ``test_atomic_requests.py`` runs with Django's own runner, in each kind of test case."""

from __future__ import annotations

import json
from typing import Any

import requests
from django.core.cache import cache
from django.db import connections
from django.test import Client, LiveServerTestCase, TestCase, TransactionTestCase, override_settings

from tasks.models import RejectedDelivery, TaskStatusEvent
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body

Sent = tuple[int, str, bytes, dict[str, str]]
JSON = {"Content-Type": "application/json"}


def deliveries() -> list[Sent]:
    """Return deliveries of each kind: the status of the answer, the token, the body, the headers."""
    good, other = factories.client_token(), factories.token(scope="another")
    fine = json.dumps(body()).encode()
    return [
        (200, good, fine, JSON | {"Idempotency-Key": "a"}),
        (409, good, json.dumps(body(progress=6)).encode(), JSON | {"Idempotency-Key": "a"}),
        (401, "unknown", fine, JSON),
        (403, other, fine, JSON),
        (413, good, b" " * 1_048_577, JSON),
        (415, good, b"{}", {"Content-Type": "text/plain"}),
        (422, good, json.dumps(body(progress=101)).encode(), JSON),
        (422, good, b"{", JSON),
    ]


class Cases:
    """What holds in each kind of test case."""

    databases: Any = "__all__"

    def setUp(self) -> None:
        """Forget what the throttles have counted."""
        cache.clear()

    def post(self, token: str, content: bytes, headers: dict[str, str]) -> int:
        """Post and return the status of the answer."""
        headers = {"Authorization": f"Bearer {token}", **headers}
        answer = Client().post(WEBHOOK, content, content_type=headers.pop("Content-Type"), headers=headers)
        return answer.status_code

    def check(self, sent: list[Sent]) -> None:
        """Post each delivery; whatever the answer, the next query of both databases works."""
        for status, token, content, headers in sent:
            assert self.post(token, content, headers) == status
            assert not any(connections[alias].needs_rollback for alias in connections)
            assert factories.user().pk
        kept = RejectedDelivery.objects.using("ledger").values_list("status", flat=True)
        assert sorted(kept) == sorted(status for status, *_ in sent if status in {413, 415, 422})
        assert TaskStatusEvent.objects.using("ledger").count() == 1

    def test_every_rejecting_answer(self) -> None:
        """It is answered as it should be, and kept."""
        self.check(deliveries())

    @override_settings(SARTIQ_TASKS={"THROTTLE_DELIVERIES": "2/min"})
    def test_too_many(self) -> None:
        """A 429 leaves what was kept before."""
        (_, token, fine, headers), *_ = deliveries()
        invalid = (422, token, b"[]", JSON)
        self.check(
            [(200, token, fine, headers), invalid, (429, token, fine, headers), (429, token, b"[]", JSON)]
        )

    @override_settings(SARTIQ_TASKS={"THROTTLE_FAILURES": "1/min"})
    def test_too_many_failures(self) -> None:
        """So does a 429 of an address."""
        (_, token, fine, headers), *_ = deliveries()
        sent: list[Any] = [(401, "unknown", fine, headers), (429, "unknown", fine, headers)]
        self.check([*sent, (200, token, fine, headers)])


class InATransaction(Cases, TestCase):
    """Each test is one transaction."""


class Committing(Cases, TransactionTestCase):
    """Each test commits."""


class OverHTTP(Cases, LiveServerTestCase):
    """A real server in another thread."""

    def post(self, token: str, content: bytes, headers: dict[str, str]) -> int:
        """Post and return the status of the answer."""
        headers = {"Authorization": f"Bearer {token}", **headers}
        return requests.post(
            f"{self.live_server_url}{WEBHOOK}", content, headers=headers, timeout=60
        ).status_code
