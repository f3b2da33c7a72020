"""The token endpoint."""

from __future__ import annotations

import logging
from typing import Any

from django.db import DataError, Error
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from oauth2_provider.views import TokenView
from rest_framework import exceptions

from ..database.live_connection import on_live_connection
from ..exceptions import DatabaseUnavailable
from .clients import password_client
from .throttling import count_token_request

logger = logging.getLogger("sartiq_tasks.auth")


class AccessTokenView(TokenView):
    """The token endpoint: django-oauth-toolkit's, which also takes the original's password form.

    The original asked for ``username`` and ``password`` and nothing else. Such a form is completed
    with the grant type and with the public client that the app keeps for it.
    """

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Issue a token (RFC 6749, sections 4.3 and 4.4)."""
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
        except Error:
            logger.exception("The database failed a request for a token")
            return JsonResponse(
                {"detail": "No token can be issued now. Ask again."},
                status=DatabaseUnavailable.status_code,
                headers={"Retry-After": DatabaseUnavailable.wait},
            )

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


def _has_client(request: HttpRequest) -> bool:
    return request.META.get("HTTP_AUTHORIZATION", "").lower().startswith("basic ")
