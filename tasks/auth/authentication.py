"""Authenticate senders by OAuth 2 bearer tokens as django-oauth-toolkit issues them."""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from . import known_tokens
from .confirmation import conditions_of

__all__ = ("BearerTokenAuthentication",)


class BearerTokenAuthentication(BaseAuthentication):
    """Accept ``Authorization: Bearer TOKEN`` (RFC 6750), by one query, or none if the token is cached.

    Like django-oauth-toolkit's own class it checks the expiry, the audience (RFC 8707) and the application;
    it also checks that the user is active. Every invalid token gets the same answer, so that nobody learns
    which tokens exist. The permission ``MayPostEvents`` checks the scope.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the token's user (None for a client's own token) and the token."""
        scheme, _, token = request._request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        checksum = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        conditions = conditions_of(request)
        if conditions is not None and (known := known_tokens.cached(checksum)):
            access_token, unchanged = known
            if self.is_valid(access_token, request._request):
                conditions.append(unchanged)
                return access_token.user, access_token
        access_token = known_tokens.find(checksum)
        if access_token is not None and self.is_valid(access_token, request._request):
            return access_token.user, access_token
        raise AuthenticationFailed("Could not validate credentials")

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return "Bearer"

    def is_valid(self, access_token: Any, request: HttpRequest) -> bool:
        """Return whether the token may be used for this request, whatever its scope."""
        application, user = access_token.application, access_token.user
        if access_token.is_expired() or (user is not None and not user.is_active):
            return False
        if application is not None and not application.is_usable(request):
            return False
        return not access_token.resource or access_token.allows_audience(
            request.build_absolute_uri(request.path)
        )


def source_of(request: Request) -> str:
    """Return the sender's name: that of the user, otherwise of the token's application or of the signer."""
    application = getattr(request.auth, "application", None)
    user: Any = request.user
    if getattr(user, "is_authenticated", False):
        # The user of a stateless JWT or of an API key is often not a Django model.
        return str(user.get_username() if hasattr(user, "get_username") else user)
    if application is not None:
        return str(application.name or application.client_id)
    return str(getattr(request.auth, "source", ""))
