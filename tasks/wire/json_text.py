"""From the bytes of a delivery to a Python object that any database can hold.

The standard library's parser is used because its error positions are part of the wire contract.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

from django.http import HttpRequest
from rest_framework.exceptions import APIException, UnsupportedMediaType

from ..conf import AppSettings
from ..exceptions import BodyIncomplete, BodyTooLarge, ContractViolation, LengthRequired, error_item

_JSON_MEDIA_TYPE = re.compile(r"application/(?:[\w!#$&^.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.ASCII)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ESCAPE = re.compile(r"\\.", re.DOTALL)
# What matters outside strings; the strings themselves are matched to be passed over.
_TOKEN = re.compile(r'"[^"]*"?|(?P<open>[\[{])|(?P<close>[\]}])|(?P<number>-?Infinity|NaN|-?\d[\d.eE+-]*)')


def check_media_type(content_type: str) -> None:
    """Refuse (415) what is neither ``application/json`` nor ``application/*+json``.

    A delivery without a ``Content-Type`` is taken for JSON, as the original endpoint took it.
    """
    if content_type and not _JSON_MEDIA_TYPE.fullmatch(content_type.strip()):
        raise UnsupportedMediaType(content_type)


def read_body(request: HttpRequest, limit: int) -> bytes:
    """Return the body, chunked or not.

    It is kept as Django keeps it, so that a signature and the event are read from the same bytes.
    Raises ``BodyTooLarge`` without having read more than ``limit`` bytes of it, ``BodyIncomplete`` where
    less came than was announced, and ``LengthRequired`` where it is framed in a way that cannot be read.
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
    """Read away what is left of a body within ``limit``, after an answer that did not wait for it.

    Else the server would close the connection while a proxy still writes to it, and the proxy would
    answer 502 in the answer's place. Who expects ``100 Continue`` has not begun to send.
    """
    if not request.META.get("HTTP_EXPECT"):
        with suppress(APIException):
            read_body(request, limit)


def _stream(request: HttpRequest, length: str) -> Any:
    """Return what the body is read from.

    Django takes a WSGI request without a length for one without a body. A server that ends the stream
    itself and says so has decoded the chunks, and no other transfer coding (RFC 9112, section 7).
    """
    coding = request.META.get("HTTP_TRANSFER_ENCODING", "")
    if length or not coding or "wsgi.input" not in request.META:
        return request
    if coding.strip().lower() != "chunked" or not request.META.get("wsgi.input_terminated"):
        raise LengthRequired
    return request.META["wsgi.input"]


def parse_json(body: bytes, settings: AppSettings) -> Any:
    """Return what the JSON text ``body`` holds, or raise ``ContractViolation``.

    Characters that PostgreSQL cannot store (U+0000, lone surrogates) become U+FFFD, in keys and
    values at any depth. Of a key given twice the last one counts.
    """
    if not body:
        raise ContractViolation([error_item("missing", "Field required")])
    try:
        # As json.loads() does it: a surrogate that was encoded by itself is no reason to lose an event.
        text = body.decode("utf-8", "surrogatepass").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        _refuse("The body is not UTF-8", error.start)
    if text.count("{") + text.count("[") > settings.max_nesting + 1:
        _check_nesting(text, settings.max_nesting)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        _refuse(*_worded_alike(error))
    except ValueError:
        _refuse_number(text)
    if "\\u" in text or not text.isascii():
        value = _storable(value)
    return value


def _refuse(message: str, position: int) -> NoReturn:
    item = error_item("json_invalid", "JSON decode error", [position], value={}, ctx={"error": message})
    raise ContractViolation([item])


def _worded_alike(error: json.JSONDecodeError) -> tuple[str, int]:
    """Return the message and position that Python 3.11 and 3.12 give, which 3.13 changed for one error."""
    if not error.msg.startswith("Illegal trailing comma"):
        return error.msg, error.pos
    after_comma = error.pos + 1
    position = after_comma + len(error.doc[after_comma:]) - len(error.doc[after_comma:].lstrip(" \t\n\r"))
    if error.msg.endswith("object"):
        return "Expecting property name enclosed in double quotes", position
    return "Expecting value", position


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(number)
    return value


def _not_json(constant: str) -> NoReturn:
    raise ValueError(constant)


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_not_json)


def _tokens(text: str) -> Iterator[re.Match[str]]:
    # Without escapes a string ends at the next quote, which keeps the search linear in hostile text.
    return _TOKEN.finditer(_ESCAPE.sub("__", text))


def _check_nesting(text: str, limit: int) -> None:
    depth = -1  # the body's own object is no level
    for token in _tokens(text):
        if token["open"]:
            depth += 1
            if depth > limit:
                _refuse(f"Nested more than {limit} levels deep", token.start())
        elif token["close"]:
            depth -= 1


def _refuse_number(text: str) -> NoReturn:
    """Refuse the first number that Python cannot hold, or that is no JSON at all (NaN, Infinity)."""
    faults = (
        (fault, token.start())
        for token in _tokens(text)
        if token["number"] and (fault := _number_fault(token["number"]))
    )
    _refuse(*next(faults, ("Number out of range", 0)))


def _number_fault(number: str) -> str | None:
    if number.endswith(("NaN", "Infinity")):
        return f"{number} is not JSON"
    try:
        _finite(number) if re.search("[.eE]", number) else int(number)
    except ValueError:
        return "Number out of range"
    return None


def _storable(value: Any) -> Any:
    """Return ``value`` with each character replaced that PostgreSQL cannot store."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value
