"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from tests import factories

WEBHOOK = "/api/v1/tasks/webhook"


@pytest.fixture
def post(db: None) -> Callable[..., HttpResponse]:
    """Post to the webhook with a good token; the body is JSON, or raw where bytes are given."""
    client = Client(headers={"Authorization": f"Bearer {factories.client_token()}"})

    def send(content: Any, **extra: Any) -> HttpResponse:
        return client.post(WEBHOOK, content, **({"content_type": "application/json"} | extra))  # type: ignore[return-value]

    return send
