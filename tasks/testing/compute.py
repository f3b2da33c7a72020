"""A compute cluster as the webhook sees it: a client with a token, which posts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from django.test import Client
from django.urls import reverse

from ..auth.clients import compute_client, create_compute_client, issue_token
from ..conf import app_settings
from .bodies import event_body
from .commits import as_if_committed

if TYPE_CHECKING:
    from django.http import HttpResponse


def make_token(source: str = "compute") -> str:
    """Return a new token of the client named ``source``, which is created if it is missing."""
    try:
        client = compute_client(source)
    except LookupError:
        client, _ = create_compute_client(source)
    return issue_token(client)


def signed_headers(
    content: bytes | str, secret: str, *, message_id: str | None = None, at: datetime | None = None
) -> dict[str, str]:
    """Return the headers that sign ``content`` with ``secret``; it needs ``sartiq-tasks[signatures]``."""
    from standardwebhooks import Webhook

    message_id, at = message_id or str(uuid4()), at or datetime.now(UTC)
    text = content if isinstance(content, str) else content.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, text),
    }


class Compute:
    """Posts events through the view, with a token of the client ``source``, or with ``headers`` instead.

    If ``SIGNING_SECRETS`` has a secret, each delivery is signed with it too.
    """

    def __init__(self, source: str = "compute", *, headers: Mapping[str, str] | None = None) -> None:
        self._source, self._given = source, headers

    def post(
        self, body: Mapping[str, Any] | bytes | None = None, *, expect: int = 200, **changes: Any
    ) -> HttpResponse:
        """Post ``body``, or ``event_body()``, with ``changes``; return the answer.

        Assert that its status is ``expect``. Receivers of the signal are called as after a commit, even in a
        ``TestCase``.
        """
        content = (
            body
            if isinstance(body, bytes)
            else json.dumps({**(event_body() if body is None else body), **changes}).encode()
        )
        with as_if_committed():
            answer = Client().post(
                reverse("sartiq_tasks:webhook"),
                content,
                content_type="application/json",
                headers={**self._headers, **_signature(content)},
                secure=True,
            )
        assert answer.status_code == expect, f"{answer.status_code}, not {expect}: {answer.content.decode()}"
        return cast("HttpResponse", answer)

    @cached_property
    def _headers(self) -> Mapping[str, str]:
        if self._given is not None:
            return self._given
        return {"Authorization": f"Bearer {make_token(self._source)}"}


def _signature(content: bytes) -> dict[str, str]:
    for secrets in app_settings().signing_secrets.values():
        return signed_headers(content, secrets[0])
    return {}
