"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from tests import factories
from tests.servers import private_postgresql, temporary_directory

WEBHOOK = "/api/v1/tasks/webhook"


@pytest.fixture
def post(db: None) -> Callable[..., HttpResponse]:
    """Post to the webhook with a good token; the body is JSON, or raw where bytes are given."""
    client = Client(headers={"Authorization": f"Bearer {factories.client_token()}"})

    def send(content: Any, **extra: Any) -> HttpResponse:
        return client.post(WEBHOOK, content, **({"content_type": "application/json"} | extra))  # type: ignore[return-value]

    return send


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[str]:
    """The URL of a new, empty database of the kind that the suite runs on, for a server of a test's own."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path}/db.sqlite3"
        return
    with temporary_directory() as place, private_postgresql(place) as server:
        yield server.url
