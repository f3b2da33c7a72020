"""The endpoints: they parse, call and respond."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import Error, transaction
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.decorators import method_decorator
from drf_spectacular.settings import patched_settings
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView
from oauth2_provider.views import TokenView
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from .authentication import source_of
from .clients import password_client
from .conf import app_settings
from .exceptions import ContractViolation, DatabaseUnavailable
from .openapi import DOCUMENT, WebhookSchema
from .outages import on_live_connection
from .parsers import check_media_type, parse_json, read_body
from .recording import payload_digest, record_event
from .serializers import task_status_event

logger = logging.getLogger(__name__)


class AlwaysJSON(BaseContentNegotiation):
    """Answer with JSON whatever ``Accept`` says: an odd header is no reason to lose an event."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the first parser."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the first renderer and its media type."""
        return renderers[0], renderers[0].media_type


# A backend's ATOMIC_REQUESTS would commit after the answer was made.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class TaskWebhookView(APIView):
    """Receive the status of a task."""

    schema = WebhookSchema()
    parser_classes = (JSONParser,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = AlwaysJSON
    throttle_classes = ()

    def get_authenticators(self) -> list[Any]:
        """Return what the setting ``AUTHENTICATION_CLASSES`` names."""
        return [authenticator() for authenticator in app_settings().authenticators]

    def get_permissions(self) -> list[Any]:
        """Return what the setting ``PERMISSION_CLASSES`` names."""
        return [permission() for permission in app_settings().permissions]

    def get_exception_handler(self) -> Callable[..., Response | None]:
        """Return the contract's own handler, so that no backend's changes the answers."""
        return answer_error

    def perform_authentication(self, request: Request) -> None:
        """Find out who sends, on a connection that lives."""
        on_live_connection(lambda: request.user)

    def post(self, request: Request) -> Response:
        """Store one event. The same event again is answered with the same id."""
        settings = app_settings()
        check_media_type(request.META.get("CONTENT_TYPE", ""))
        body = parse_json(read_body(request._request, settings.max_body_bytes), settings)
        event = task_status_event.run_validation(body)
        recorded = on_live_connection(
            lambda: record_event(
                event=event,
                digest=payload_digest(body),
                source=source_of(request),
                idempotency_key=idempotency_key(request),
            )
        )
        return Response(
            {"id": recorded.event_id, "task_id": recorded.task_id, "duplicate": recorded.duplicate}
        )


def idempotency_key(request: Request) -> bytes | None:
    """Return the sender's own key of the event: ``Idempotency-Key``, or Standard Webhooks' ``webhook-id``."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY") or request.META.get("HTTP_WEBHOOK_ID")
    # WSGI gives a header's bytes as Latin-1 (PEP 3333).
    return key.encode("latin-1", "backslashreplace") if key else None


def answer_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the contract's answer to ``error``, or None where it is none of a sender's making."""
    if isinstance(error, ContractViolation):
        return Response({"detail": error.items}, status=error.status_code)
    if isinstance(error, exceptions.NotAuthenticated):
        error.detail = "Not authenticated"  # type: ignore[assignment]
    if isinstance(error, Error):
        logger.error("The database failed a delivery", exc_info=error)
        error = DatabaseUnavailable()
    return exception_handler(error, context)


class AccessTokenView(TokenView):
    """The token endpoint: django-oauth-toolkit's, which also takes the original's password form.

    The original asked for ``username`` and ``password`` and nothing else. Such a form is completed
    with the grant type and with the public client that the app keeps for it.
    """

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Issue a token (RFC 6749, sections 4.3 and 4.4)."""
        try:
            return on_live_connection(lambda: self._issue(request, *args, **kwargs))
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


class DocumentView(SpectacularJSONAPIView):
    """The OpenAPI document of the app's endpoints."""

    schema = None
    authentication_classes = ()
    permission_classes = ()
    custom_settings = DOCUMENT


class DocsView(SpectacularSwaggerSplitView):
    """The interactive page on the document; its files are drf-spectacular-sidecar's, so it works offline."""

    authentication_classes = ()
    permission_classes = ()
    schema = None
    title = DOCUMENT["TITLE"]
    url_name = "sartiq_tasks:openapi"

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return the page, or with ``?script`` the script that starts it."""
        with patched_settings(DOCUMENT):
            return super().get(request, *args, **kwargs)
