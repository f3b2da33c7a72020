"""What can be wrong with a delivery. Each exception carries the answer to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, ValidationError

__all__ = (
    "BodyIncomplete",
    "BodyTooLarge",
    "ContractViolation",
    "DatabaseUnavailable",
    "IdempotencyConflict",
    "LengthRequired",
    "Unconfirmed",
)

#: An item leaves ``input`` out if its JSON is longer than this, in bytes.
MAX_INPUT_BYTES = 1000


class ContractViolation(ValidationError):
    """The body breaks the contract: a 422 whose ``items`` are worded as Pydantic words them."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY

    def __init__(self, items: Sequence[dict[str, Any]]) -> None:
        self.items = list(items)
        fields: dict[str, list[ErrorDetail]] = {}
        for item in self.items:
            place = item["loc"][1] if len(item["loc"]) > 1 else "non_field_errors"
            fields.setdefault(str(place), []).append(ErrorDetail(item["msg"], item["type"]))
        super().__init__(fields)


class Unconfirmed(Exception):
    """Nothing was stored: a condition to be confirmed does not hold, or the key belongs to another event."""


class IdempotencyConflict(APIException):
    """An event with this key is stored already, with another body: a 409, never a silent drop."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = (
        "This idempotency key was used before for the same task with another body. "
        "Send each event under a key of its own."
    )
    default_code = "idempotency_conflict"


class BodyTooLarge(APIException):
    """The body is longer than the setting ``MAX_BODY_BYTES`` allows: a 413."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "body_too_large"

    def __init__(self, limit: int, start: bytes = b"") -> None:
        super().__init__(f"The body is longer than {limit} bytes.")
        #: What was read of the body.
        self.start = start


class DatabaseUnavailable(APIException):
    """The event cannot be stored now: a 503 that makes the sender retry."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The event could not be stored now. Send it again."
    default_code = "database_unavailable"
    #: Seconds, for ``Retry-After``.
    wait = 5


class BodyIncomplete(APIException):
    """The body is shorter than was announced: a 400, for the sender to send it again."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = "The body ended before its announced length. Send the event again."
    default_code = "body_incomplete"


class LengthRequired(APIException):
    """The body is framed in a way that this server does not read: a 411."""

    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = "The body cannot be read without a Content-Length. Send one."
    default_code = "length_required"


def error_item(
    type_: str,
    msg: str,
    loc: Sequence[str | int] = (),
    *,
    value: Any = None,
    ctx: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return one item of a 422's ``detail``; ``loc`` is the path to the fault after ``"body"``.

    ``value``, the value rejected, becomes ``input`` unless its JSON is longer than ``MAX_INPUT_BYTES``.
    """
    item: dict[str, Any] = {"type": type_, "loc": ["body", *loc], "msg": msg}
    if len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) <= MAX_INPUT_BYTES:
        item["input"] = value
    if ctx is not None:
        item["ctx"] = ctx
    return item
