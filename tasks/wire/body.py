"""The body of a request: its media type, and its bytes within a limit."""

from __future__ import annotations

import re
from contextlib import suppress
from io import BytesIO
from typing import Any

from django.http import HttpRequest
from rest_framework.exceptions import APIException, UnsupportedMediaType
from rest_framework.parsers import JSONParser

from ..conf import app_settings
from ..exceptions import BodyIncomplete, BodyTooLarge, LengthRequired

_JSON_MEDIA_TYPE = re.compile(r"application/(?:[\w!#$&^.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.ASCII)


class KeepingParser(JSONParser):
    """JSON for authenticators and permissions of a host that read ``request.data`` before the event."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return what the body holds, and keep its bytes."""
        body = read_body(parser_context["request"]._request, app_settings().max_body_bytes)
        return super().parse(BytesIO(body), media_type, parser_context)


def check_media_type(content_type: str) -> None:
    """Raise a 415 unless the type is ``application/json`` or ``application/*+json``.

    A delivery without a ``Content-Type`` counts as JSON, as it did in FastAPI for years.
    """
    if content_type and not _JSON_MEDIA_TYPE.fullmatch(content_type.strip()):
        raise UnsupportedMediaType(content_type)


def read_body(request: HttpRequest, limit: int) -> bytes:
    """Return the body, chunked or not, and cache it on the request as Django does.

    Raises ``BodyTooLarge`` without reading more than one byte beyond ``limit``, ``BodyIncomplete`` if fewer
    bytes came than were announced, and ``LengthRequired`` if the framing cannot be read.
    """
    length = request.META.get("CONTENT_LENGTH") or ""
    declared = int(length) if length.isdecimal() and len(length) < 20 else 0
    if declared > limit or len(length) >= 20:
        raise BodyTooLarge(limit)
    try:
        body: bytes = getattr(request, "_body", b"") or _stream(request, length).read(limit + 1)
    except OSError as error:
        raise BodyIncomplete from error
    if len(body) > limit:
        raise BodyTooLarge(limit, start=body)
    if len(body) < declared:
        raise BodyIncomplete
    request._body = body
    return body


def discard_body(request: HttpRequest, limit: int) -> None:
    """Read the rest of a body of at most ``limit`` bytes that the answer did not need.

    Otherwise the server would close the connection while a proxy still writes to it, and the proxy would
    answer 502 instead. A client that expects ``100 Continue`` has not begun to send.
    """
    if not request.META.get("HTTP_EXPECT"):
        with suppress(APIException):
            read_body(request, limit)


def _stream(request: HttpRequest, length: str) -> Any:
    """Return the stream to read the body from.

    For Django, a WSGI request without a length has no body. But a server that says that it ends the stream
    itself has decoded the chunks; it decodes no other transfer coding (RFC 9112, section 7).
    """
    coding = request.META.get("HTTP_TRANSFER_ENCODING", "")
    if length or not coding or "wsgi.input" not in request.META:
        return request
    if coding.strip().lower() != "chunked" or not request.META.get("wsgi.input_terminated"):
        raise LengthRequired
    return request.META["wsgi.input"]
