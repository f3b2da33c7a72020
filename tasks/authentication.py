"""Who sends: OAuth 2 bearer tokens as django-oauth-toolkit issues them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.http import HttpRequest
from oauth2_provider.models import get_access_token_model
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from .conf import app_settings
from .rows import attnames_of, instance_of_row, kept_cursor


class BearerTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer TOKEN`` (RFC 6750), with one query on the token's checksum.

    It checks what django-oauth-toolkit's own class checks of a token (expiry, audience by RFC 8707,
    application usable) and that its user is active. Every token that is no good gets the same
    answer, so that none can be told to exist. The scope is for ``tasks.permissions`` to judge.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the token's user (None for a client's own token) and the token."""
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        access_token = self.find(token)
        if access_token is None or not self.is_good(access_token, request._request):
            raise AuthenticationFailed("Could not validate credentials")
        return access_token.user, access_token

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return "Bearer"

    def find(self, token: str) -> Any:
        """Return the access token with its application and user, or None."""
        checksum = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        keep = app_settings().token_cache.total_seconds()
        return _cached(checksum, keep) if keep else _load(checksum)

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


#: Checksum to access token and the end of its time here; only with the setting TOKEN_CACHE.
_cache: dict[str, tuple[Any, float]] = {}
_MAX_CACHED = 10_000


def _cached(checksum: str, keep: float) -> Any:
    access_token, until = _cache.get(checksum, (None, 0.0))
    if until < time.monotonic():
        access_token = _load(checksum)
        if len(_cache) >= _MAX_CACHED:
            _cache.clear()
        if access_token is not None:
            _cache[checksum] = access_token, time.monotonic() + keep
    return access_token


def _load(checksum: str) -> Any:
    tokens = get_access_token_model()
    connection = connections[router.db_for_read(tokens)]
    cursor = kept_cursor(connection)
    cursor.execute(_select_by_checksum(tokens, connection.alias), [checksum])
    row = cursor.fetchone()
    return None if row is None else _access_token_of_row(tokens, row, connection)


#: What is judged of a token, its application and its user, and what tells who sends. Anything else, such as a
#: field of a backend's own model, is loaded when it is asked for.
_JUDGED = {
    "": ("expires", "scope", "resource", "application_id", "user_id"),
    "application": ("name", "client_id"),
    "user": ("is_active", "is_superuser"),
}


@cache
def _parts(tokens: type[Model]) -> dict[str, tuple[type[Model], tuple[str, ...]]]:
    """Return the model and the columns of each part of the query's row, by the name of its relation."""
    parts = {}
    for relation, names in _JUDGED.items():
        model = cast("type[Model]", tokens._meta.get_field(relation).related_model) if relation else tokens
        wanted = {model._meta.pk.attname, getattr(model, "USERNAME_FIELD", None), *names}
        parts[relation] = model, tuple(name for name in attnames_of(model) if name in wanted)
    return parts


@cache
def _select_by_checksum(tokens: type[Model], using: str) -> str:
    """Return the query for a token with all that is judged; its parameter is the checksum.

    The ORM compiles it once: to compile it for each request costs several times what running it does.
    """
    names = [
        f"{relation}__{name}" if relation else name
        for relation, (_, attnames) in _parts(tokens).items()
        for name in attnames
    ]
    query = tokens._base_manager.using(using).filter(token_checksum="").values_list(*names).query
    sql: str = query.get_compiler(using).as_sql()[0]
    return sql


def _access_token_of_row(tokens: type[Model], row: Sequence[Any], connection: BaseDatabaseWrapper) -> Any:
    instances: dict[str, Any] = {}
    start = 0
    for relation, (model, attnames) in _parts(tokens).items():
        end = start + len(attnames)
        if not relation or getattr(instances[""], f"{relation}_id") is not None:
            instances[relation] = instance_of_row(model, row[start:end], connection, attnames)
        start = end
    access_token = instances.pop("")
    for relation, instance in instances.items():
        # As the ORM sets what it has joined.
        tokens._meta.get_field(relation).set_cached_value(access_token, instance)  # type: ignore[union-attr]
    return access_token


def source_of(request: Request) -> str:
    """Return the name of who sends: the signer's, else the token's user, else its application."""
    application = getattr(request.auth, "application", None)
    if request.user is not None and request.user.is_authenticated:
        return str(request.user.get_username())
    if application is not None:
        return str(application.name or application.client_id)
    return str(getattr(request.auth, "source", ""))
