"""Authenticate senders by a signature over the delivery: Standard Webhooks 1 (standardwebhooks.com).

Optional: it needs ``sartiq-tasks[signatures]``, a class of this module in the setting
``AUTHENTICATION_CLASSES``, and ``SIGNING_SECRETS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from ..conf import app_settings
from ..wire.body import read_body
from .authentication import BearerTokenAuthentication

__all__ = ("Signature", "SignatureAuthentication", "SignedTokenAuthentication")

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


@dataclass(frozen=True, slots=True)
class Signature:
    """The value of ``request.auth`` if a signature alone authenticated the sender."""

    #: The name under which ``SIGNING_SECRETS`` has the secret.
    source: str


class SignatureAuthentication(BaseAuthentication):
    """Accept a delivery that one of ``SIGNING_SECRETS`` has signed, at most five minutes ago or ahead.

    The signature covers bytes, so the body is read first, up to ``MAX_BODY_BYTES``, and parsed later.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return no user and the ``Signature``; None if the delivery is not signed."""
        headers = {name: request.headers.get(name, "") for name in HEADERS}
        if not all(headers.values()):
            return None
        settings = app_settings()
        body = read_body(request._request, settings.max_body_bytes)
        source = signer_of(body, headers, settings.signing_secrets)
        if source is None:
            raise AuthenticationFailed("Could not validate credentials")
        return None, Signature(source)

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return "StandardWebhooks"


class SignedTokenAuthentication(BearerTokenAuthentication):
    """Demand both a valid bearer token and a valid signature; the token names the sender."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the token's user and the token; None if either is missing."""
        credentials = super().authenticate(request)
        if credentials is None or SignatureAuthentication().authenticate(request) is None:
            return None
        return credentials


def signer_of(body: bytes, headers: Mapping[str, str], secrets: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return the name in ``secrets`` whose secret signed ``body``, or None if none did."""
    from standardwebhooks import Webhook, WebhookVerificationError

    for source, keys in secrets.items():
        for key in keys:
            try:
                Webhook(key).verify(body, dict(headers), json_parse=False)
            except (WebhookVerificationError, ValueError):
                # A ValueError: a signature that is not base64, or text that is not UTF-8.
                continue
            return source
    return None
