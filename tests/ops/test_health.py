"""The probes, unauthenticated and silent about secrets. ``test_live_connection.py`` has them fail."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_well(path: str) -> None:
    answer = Client().get(path)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "no-store" in answer["Cache-Control"]


def test_health_asks_nothing_of_the_database() -> None:
    with CaptureQueriesContext(connection) as queries:
        Client().get("/healthz")

    assert len(queries) == 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_nothing_can_be_posted(path: str) -> None:
    assert Client().post(path).status_code == 405
