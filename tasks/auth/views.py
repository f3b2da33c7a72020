"""The token endpoint."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from django.db import DataError, Error
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views import TokenView
from rest_framework import exceptions

from ..database.failures import first_line
from ..database.live_connection import on_live_connection
from ..exceptions import DatabaseUnavailable
from .clients import password_client
from .throttling import count_token_request

__all__ = ("AccessTokenView",)

logger = logging.getLogger("sartiq_tasks.auth")


class AccessTokenView(TokenView):
    """Issue tokens as django-oauth-toolkit does, and for the original's password form.

    That form has ``username`` and ``password`` and nothing else. The view adds the grant type, and the public
    client that the app keeps for it.
    """

    @classmethod
    def get_validator_class(cls) -> Any:
        """Return the project's validator, without its warning on the password form."""
        return _with_password_form(super().get_validator_class())

    @classmethod
    def get_oauthlib_core(cls) -> Any:
        """Return a new core: the cached one may be TokenView's, with its validator."""
        return cls.get_oauthlib_backend_class()(cls.get_server())

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Issue a token (RFC 6749, sections 4.3 and 4.4)."""
        # oauthlib forbids a query too, but fails with another error on one such as "%".
        if request.META.get("QUERY_STRING"):
            detail = "URL query parameters are not allowed"
            return JsonResponse({"error": "invalid_request", "error_description": detail}, status=400)
        try:
            count_token_request(request)
        except exceptions.Throttled as throttled:
            return JsonResponse(
                {"detail": str(throttled.detail)},
                status=throttled.status_code,
                headers={"Retry-After": throttled.wait},  # type: ignore[attr-defined]
            )
        try:
            return on_live_connection(lambda: self._issue(request, *args, **kwargs))
        except DataError:  # such as U+0000 in a name
            return JsonResponse({"error": "invalid_request"}, status=400)
        except Error as error:
            logger.exception("The database failed a request for a token: %r", first_line(error))
            answer = JsonResponse(
                {"detail": "No token can be issued now. Ask again."},
                status=DatabaseUnavailable.status_code,
                headers={"Retry-After": DatabaseUnavailable.wait},
            )
            answer._has_been_logged = True  # type: ignore[attr-defined]  # not by django.request, too
            return answer

    def _issue(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = request.POST.copy()
        # A parameter without a value counts as omitted (RFC 6749, section 3.2).
        for name in [name for name, value in form.items() if not value]:
            del form[name]
        form.setdefault("grant_type", "password")
        if form["grant_type"] == "password" and "client_id" not in form and not _has_client(request):
            form["client_id"] = password_client().client_id
            form.pop("client_secret", None)
        request.POST = form  # type: ignore[assignment]
        return super().post(request, *args, **kwargs)


@cache
def _with_password_form(validator: type[Any]) -> type[Any]:
    """Return ``validator`` without its warning on the password form, unless the project forbids that form.

    django-oauth-toolkit warns at each such request, which then fails if warnings are errors.
    """

    class Validator(validator):
        def validate_grant_type(
            self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kwargs: Any
        ) -> bool:
            if grant_type == "password" and not oauth2_settings.COMPLIANT_BCP_RFC9700_PASSWORD_GRANT:
                return bool(request.client.allows_grant_type(grant_type))
            return bool(super().validate_grant_type(client_id, grant_type, client, request, *args, **kwargs))

    return Validator


def _has_client(request: HttpRequest) -> bool:
    scheme, _, credentials = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    # Swagger UI sends the credentials of a client without an id: ":" in base64.
    return scheme.lower() == "basic" and credentials.strip() != "Og=="
