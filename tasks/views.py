"""The webhook. It parses, calls and responds."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import Error, connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from rest_framework import exceptions
from rest_framework.exceptions import ErrorDetail
from rest_framework.metadata import SimpleMetadata
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import DEFAULTS, IMPORT_STRINGS, APISettings
from rest_framework.views import APIView

from .auth.authentication import source_of
from .auth.confirmation import Condition, allow_cached, conditions_of, confirmed, reauthenticate
from .auth.throttling import count_delivery, count_failure
from .conf import app_settings
from .database.live_connection import on_live_connection
from .exceptions import ContractViolation, DatabaseUnavailable
from .ledger.recording import Recorded, record_event
from .openapi.extensions import WebhookSchema
from .ops import delivery_log
from .rejections import REJECTIONS, keep_rejected
from .serializers import read_event
from .wire.body import KeepingParser, discard_body, read_body

__all__ = ("TaskWebhookView",)


# Filled in for a plain HttpResponse: DRF's is rendered later, as a template is, and json.dumps() with options
# makes a new encoder each time.
_ANSWER = '{"id":%d,"task_id":%s,"duplicate":%s}'
_JSON = json.JSONEncoder(ensure_ascii=False)
_JSON_HEADERS = {"Content-Type": "application/json"}


class AlwaysJSON(BaseContentNegotiation):
    """Answer with JSON whatever ``Accept`` says: an odd header must not lose an event."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the first parser."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the first renderer and its media type."""
        return renderers[0], renderers[0].media_type


def answer_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the contract's answer to ``error``, or None if it is a bug of ours.

    DRF's own handler would roll a host's transaction back, and with it the kept rejection.
    """
    if isinstance(error, Error):  # which the delivery's report logs
        error = DatabaseUnavailable()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(*error.args)
    elif isinstance(error, Http404):
        error = exceptions.NotFound(*error.args)
    if not isinstance(error, exceptions.APIException):
        return None
    detail: Any = error.items if isinstance(error, ContractViolation) else error.detail
    if isinstance(error, exceptions.NotAuthenticated):
        detail = ErrorDetail("Not authenticated", error.default_code)
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return Response({"detail": detail}, status=error.status_code, headers=headers)


class ContractRenderer(JSONRenderer):
    """JSON as the contract words it, whatever the host sets for its own API."""

    compact, ensure_ascii, strict = True, False, True


class TaskWebhookView(APIView):
    """Receive the status of a task."""

    http_method_names = ("post", "options")
    schema = WebhookSchema()
    parser_classes = (KeepingParser,)
    renderer_classes = (ContractRenderer,)
    content_negotiation_class = AlwaysJSON
    metadata_class = SimpleMetadata
    versioning_class = None
    throttle_classes = ()
    #: None stands for those in ``SARTIQ_TASKS``. A subclass or ``as_view()`` can give its own.
    authentication_classes: Any = None
    permission_classes: Any = None
    #: DRF's defaults: nothing in the host's ``REST_FRAMEWORK`` changes how a delivery is answered.
    settings = APISettings({"EXCEPTION_HANDLER": answer_error}, DEFAULTS, IMPORT_STRINGS)
    #: For the report, as far as the delivery got: sender, task, and the stored event or the database's error.
    source = ""
    task_id: str | None = None
    recorded: Recorded | None = None
    failure: Error | None = None

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Return the view, exempt from ATOMIC_REQUESTS, which commits only after the answer is made."""
        view = super().as_view(**initkwargs)
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer the delivery, and report its outcome."""
        started, response = time.perf_counter(), None
        try:
            response = super().dispatch(request, *args, **kwargs)
            return response
        finally:
            if getattr(request, "user", self) is None:  # a client's token: middleware expects a user
                request.user = AnonymousUser()
            delivery_log.report(
                request,
                response,
                recorded=self.recorded,
                client=self.source,
                task=self.task_id,
                failure=self.failure,
                seconds=time.perf_counter() - started,
            )

    def get_authenticators(self) -> list[Any]:
        """Return the view's own authenticators, otherwise those of the setting ``AUTHENTICATION_CLASSES``."""
        if self.authentication_classes is not None:
            return super().get_authenticators()
        return [authenticator() for authenticator in app_settings().authenticators]

    def get_permissions(self) -> list[Any]:
        """Return the view's own permissions, otherwise those of the setting ``PERMISSION_CLASSES``."""
        if self.permission_classes is not None:
            return list(super().get_permissions())
        return [permission() for permission in app_settings().permissions]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, authorise and throttle the sender. Cached credentials never cause a rejection."""
        if request._request.method == "POST":  # DRF's request would look for it first
            allow_cached(request)
        try:
            super().initial(request, *args, **kwargs)
        except exceptions.APIException as rejection:
            if not reauthenticate(self) or isinstance(rejection, exceptions.Throttled):
                raise
            self.check_throttles(self.request)

    def perform_authentication(self, request: Request) -> None:
        """Authenticate the sender, on a live connection, and count failures."""
        try:
            on_live_connection(lambda: request.user)
        except exceptions.AuthenticationFailed:
            if not conditions_of(request):
                count_failure(request)
            raise
        self.source = source_of(request)

    def check_throttles(self, request: Request) -> None:
        """Apply ``THROTTLE_DELIVERIES``, and a subclass's ``throttle_classes``."""
        count_delivery(request)
        super().check_throttles(request)

    def handle_exception(self, exc: Exception) -> Response:
        """Return the answer to ``exc``, after the rest of the body is read, unless it is too long."""
        self.failure = exc if isinstance(exc, Error) else None
        discard_body(self.request._request, app_settings().max_body_bytes)
        return super().handle_exception(exc)

    def post(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Store one event. The same event again is answered with the same id."""
        settings, headers = app_settings(), request._request.META
        key = idempotency_key(headers)
        raw = b""
        try:
            raw = read_body(request._request, settings.max_body_bytes)
            event, digest = read_event(raw, headers.get("CONTENT_TYPE", ""))
            self.task_id = event["task_id"]
            recorded = self.recorded = self.record(event, digest, key)
        except exceptions.APIException as rejection:
            reauthenticate(self)
            if isinstance(rejection, REJECTIONS):
                keep_rejected(
                    rejection, body=raw, headers=request.headers, source=self.source, idempotency_key=key
                )
            raise
        answer = _ANSWER % (
            recorded.event_id,
            _JSON.encode(recorded.task_id),
            "true" if recorded.duplicate else "false",
        )
        content = answer.encode()
        return HttpResponse(content, headers=_JSON_HEADERS | {"Content-Length": str(len(content))})

    def record(self, event: Mapping[str, Any], digest: bytes, key: bytes | None) -> Recorded:
        """Record the event, and in the same round trip confirm that its sender may post it."""

        def store(conditions: Sequence[Condition]) -> Recorded:
            return on_live_connection(
                lambda: record_event(
                    event=event,
                    digest=digest,
                    source=self.source,
                    idempotency_key=key,
                    confirming=conditions,
                )
            )

        return confirmed(self, store)


def idempotency_key(headers: Mapping[str, str]) -> bytes | None:
    """Return the sender's own key for the event: ``Idempotency-Key``, or Standard Webhooks' ``webhook-id``.

    ``headers`` is the request's META. In a signed delivery only ``webhook-id`` counts, because the signature
    covers it: a replay under another ``Idempotency-Key`` would be stored again.
    """
    key = headers.get("HTTP_WEBHOOK_ID")
    if "HTTP_WEBHOOK_SIGNATURE" not in headers:
        key = headers.get("HTTP_IDEMPOTENCY_KEY") or key
    # WSGI gives a header's bytes as Latin-1 (PEP 3333).
    return key.encode("latin-1", "backslashreplace") if key else None
