"""Who sends: OAuth 2 bearer tokens as django-oauth-toolkit issues them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from ..database.row_version import RowVersion
from . import known_tokens


class BearerTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer TOKEN`` (RFC 6750), by one query on the token's checksum, or none.

    It checks what django-oauth-toolkit's own class checks of a token (expiry, audience by RFC 8707,
    application usable) and that its user is active. Every token that is no good gets the same
    answer, so that none can be told to exist. The scope is for ``permissions`` to judge.
    """

    #: Whether a token may be recalled from a delivery before; who sets it has ``recalled`` confirmed.
    recalls = False
    #: The rows behind the token that is good only as long as they are unchanged.
    recalled: tuple[RowVersion, ...] = ()

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the token's user (None for a client's own token) and the token."""
        scheme, _, token = request._request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        checksum = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        for access_token, recalled in self.candidates(checksum):
            if access_token is not None and self.is_good(access_token, request._request):
                self.recalled = recalled
                return access_token.user, access_token
        raise AuthenticationFailed("Could not validate credentials")

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return "Bearer"

    def candidates(self, checksum: str) -> Iterator[tuple[Any, tuple[RowVersion, ...]]]:
        """Yield the access token as it is recalled, if it is, and then as the database has it, or None."""
        if known := known_tokens.recall(checksum, to_confirm=self.recalls):
            yield known
        yield known_tokens.find(checksum), ()

    def is_good(self, access_token: Any, request: HttpRequest) -> bool:
        """Return whether the token may be used at all, and here."""
        application, user = access_token.application, access_token.user
        if access_token.is_expired() or (user is not None and not user.is_active):
            return False
        if application is not None and not application.is_usable(request):
            return False
        return not access_token.resource or access_token.allows_audience(
            request.build_absolute_uri(request.path)
        )


def source_of(request: Request) -> str:
    """Return the name of who sends: the signer's, else the token's user, else its application."""
    application = getattr(request.auth, "application", None)
    if request.user is not None and request.user.is_authenticated:
        return str(request.user.get_username())
    if application is not None:
        return str(application.name or application.client_id)
    return str(getattr(request.auth, "source", ""))
