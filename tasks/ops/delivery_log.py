"""Report the outcome of each delivery to the log and to the metrics; if both are off, do nothing.

The log is the logger ``sartiq_tasks.deliveries``: level ERROR if the database failed the delivery, otherwise
INFO. Its records have the fields of ``Delivery`` as attributes, for any formatter; none of them is ever a
body or a token. The message names most of them, for a formatter that shows no attributes.
"""

from __future__ import annotations

import logging
import re
import uuid
from dataclasses import dataclass
from typing import Any

from django.db import Error
from django.http import HttpRequest, HttpResponseBase

from ..conf import app_settings
from ..database.failures import first_line
from ..ledger.recording import Recorded
from . import metrics

logger = logging.getLogger("sartiq_tasks.deliveries")

# %r keeps a sender's text on its line: it escapes control characters and line breaks.
_STORED = "delivery %s: status=%d client=%r task=%r event=%d request_id=%s"
_NOT_STORED = "delivery %s: status=%d client=%r task=%r errors=%r request_id=%s"
_FAILED = f"{_NOT_STORED} reason=%r"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_OUTCOMES = {
    401: "unauthenticated",
    403: "forbidden",
    409: "conflict",
    429: "throttled",
    500: "error",
    503: "unavailable",
}


@dataclass(frozen=True)
class Delivery:
    """The outcome of one delivery."""

    #: stored, duplicate, or why not: conflict, error, forbidden, rejected, throttled,
    #: unauthenticated, unavailable.
    outcome: str
    #: The HTTP status of the answer.
    status: int
    #: The sender's name, empty if it is not known.
    client: str
    #: The task's id, if the delivery got as far as being read.
    task: str | None
    #: The event's id, if it is stored.
    event: int | None
    duplicate: bool | None
    #: The types of the errors in the answer.
    errors: list[str]
    milliseconds: float
    #: ``X-Request-ID`` as the proxy or the sender gave it, otherwise one made here.
    request_id: str


def report(
    request: HttpRequest,
    response: HttpResponseBase | None,
    *,
    recorded: Recorded | None,
    client: str,
    task: str | None,
    failure: Error | None,
    seconds: float,
) -> None:
    """Log and count a delivery; ``response`` is None if the view raised, ``failure`` the database's error.

    If the report fails, that is logged, and the delivery is answered all the same.
    """
    try:
        is_delivery, level = request.method == "POST", logging.ERROR if failure else logging.INFO
        is_logged = logger.isEnabledFor(level) and (is_delivery or failure is not None)
        is_counted = is_delivery and app_settings().metrics_token is not None
        if not (is_logged or is_counted):
            return
        status = 500 if response is None else response.status_code
        outcome = _outcome(status, recorded)
        errors = [] if recorded else _errors(getattr(response, "data", {}), outcome)
        if is_logged:
            delivery = Delivery(
                outcome=outcome,
                status=status,
                client=client,
                task=task,
                event=recorded.event_id if recorded else None,
                duplicate=recorded.duplicate if recorded else None,
                errors=errors,
                milliseconds=round(seconds * 1000, 2),
                request_id=request_id(request),
            )
            if response is not None:
                response["X-Request-ID"] = delivery.request_id
            message, arguments = _message(delivery, failure)
            logger.log(level, message, *arguments, extra=vars(delivery), exc_info=failure)
            if failure and response is not None:
                response._has_been_logged = True  # type: ignore[attr-defined]  # not by django.request, too
        if is_counted:  # last, because it writes to a disk, which may be full
            metrics.count(outcome, errors, seconds)
    except Exception:
        logger.exception(
            "A delivery was answered, but could not be logged or counted: client=%r task=%r event=%s",
            client,
            task,
            recorded and recorded.event_id,
        )


def _message(delivery: Delivery, failure: Error | None) -> tuple[str, tuple[object, ...]]:
    """Return the message and its arguments."""
    one = delivery
    known = (one.outcome, one.status, one.client, one.task)
    if one.event is not None:
        return _STORED, (*known, one.event, one.request_id)
    if failure is None:
        return _NOT_STORED, (*known, one.errors, one.request_id)
    return _FAILED, (*known, one.errors, one.request_id, first_line(failure))


def request_id(request: HttpRequest) -> str:
    """Return the request's ``X-Request-ID`` if it is fit for a log, otherwise a new one."""
    given = request.META.get("HTTP_X_REQUEST_ID", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _outcome(status: int, recorded: Recorded | None) -> str:
    if recorded:
        return "duplicate" if recorded.duplicate else "stored"
    return _OUTCOMES.get(status, "rejected")


def _errors(data: Any, outcome: str) -> list[str]:
    """Return the types of a 422's items, or the code of any other ``detail``."""
    detail = data.get("detail")
    if isinstance(detail, list):
        return sorted({item["type"] for item in detail})
    return [getattr(detail, "code", outcome)]
