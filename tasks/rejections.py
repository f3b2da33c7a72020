"""Deliveries that were rejected: kept for a person to look at, and tried again after a fix."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import Error, router, transaction
from django.db.models import F, Max, Sum
from django.utils import timezone
from rest_framework.exceptions import APIException, UnsupportedMediaType

from .conf import COLUMN_LENGTH, app_settings
from .database.data_faults import is_fault_of_data
from .database.live_connection import on_live_connection
from .exceptions import BodyTooLarge, ContractViolation
from .ledger.recording import Recorded, record_event
from .models import RejectedDelivery
from .serializers import read_event

__all__ = ("try_again",)

logger = logging.getLogger("sartiq_tasks.rejections")

#: Faults of the delivery itself, whatever the sender and the state of the database.
REJECTIONS = (ContractViolation, BodyTooLarge, UnsupportedMediaType)
#: The headers that help to find out what went wrong; none that could hold a credential.
HEADERS = (
    "Content-Encoding", "Content-Length", "Content-Type", "Idempotency-Key", "Transfer-Encoding",
    "User-Agent", "Webhook-Id", "Webhook-Timestamp", "X-Request-Id",
)  # fmt: skip
#: How much of a header, and of a body that is over the limit, is kept.
MAX_HEADER_LENGTH = 1000
MAX_START_BYTES = 4096


def keep_rejected(
    rejection: APIException,
    *,
    body: bytes,
    headers: Mapping[str, str],
    source: str,
    idempotency_key: bytes | None,
) -> None:
    """Keep a delivery of ``source`` that was rejected, one of ``REJECTIONS``, in a transaction of its own.

    Of one client at most ``REJECTED_PER_MINUTE`` are kept in a minute; the rest is counted. A
    database that cannot keep it is logged, and changes nothing about the answer.
    """
    rejected = RejectedDelivery(
        received_at=timezone.now(),
        source=source[:COLUMN_LENGTH],
        headers={name: _text(headers[name]) for name in HEADERS if name in headers},
        idempotency_key=idempotency_key,
        body=rejection.start[:MAX_START_BYTES] if isinstance(rejection, BodyTooLarge) else body,
        is_whole=not isinstance(rejection, BodyTooLarge),
        **_findings(rejection),
    )
    try:
        try:
            on_live_connection(lambda: _keep(rejected))
        except (Error, UnicodeEncodeError) as error:
            if not is_fault_of_data(error):
                raise
            # The body is bytes, which every database holds; the rest may quote it.
            for column in ("source", "errors", "headers"):
                setattr(rejected, column, _ascii(getattr(rejected, column)))
            on_live_connection(lambda: _keep(rejected))
    except Error:
        logger.exception("A rejected delivery could not be kept")


def _ascii(value: Any) -> Any:
    """Return ``value`` with every character escaped that some database cannot hold."""
    if isinstance(value, str):
        return value.encode("ascii", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_ascii(key): _ascii(item) for key, item in value.items()}
    return [_ascii(item) for item in value] if isinstance(value, (list, tuple)) else value


def _keep(rejected: RejectedDelivery) -> None:
    using = router.db_for_write(RejectedDelivery)
    minute = rejected.received_at.replace(second=0, microsecond=0)
    of_minute = RejectedDelivery.objects.using(using).filter(source=rejected.source, received_at__gte=minute)
    with transaction.atomic(using=using):
        if of_minute.count() < app_settings().rejected_per_minute:
            rejected.save(using=using, force_insert=True)
        else:
            last = of_minute.aggregate(last=Max("pk"))["last"]
            RejectedDelivery.objects.using(using).filter(pk=last).update(not_kept=F("not_kept") + 1)


def _findings(rejection: APIException) -> dict[str, Any]:
    """Return the columns that say what was wrong."""
    if isinstance(rejection, ContractViolation):
        errors = rejection.items
    else:
        errors = [{"type": rejection.get_codes(), "loc": ["body"], "msg": _text(str(rejection.detail))}]
    faults = dict.fromkeys(f"{field_of(error)}:{error['type']}" for error in errors)
    return {"status": rejection.status_code, "errors": errors, "faults": f" {' '.join(faults)} "}


def field_of(error: Mapping[str, Any]) -> str:
    """Return the field that an item of a 422 is about, or ``body`` if it is about the whole."""
    place = error["loc"][1] if len(error["loc"]) > 1 else "body"
    return place if isinstance(place, str) else "body"


def _text(value: str) -> str:
    # PostgreSQL cannot store U+0000.
    return value[:MAX_HEADER_LENGTH].replace("\0", "\N{REPLACEMENT CHARACTER}")


def try_again(rejected: RejectedDelivery) -> Recorded:
    """Validate and record a rejected delivery again, as of the time it was received.

    It is marked as accepted. Trying it again is harmless, because an event is stored once.
    Raises what rejects it now, one of ``REJECTIONS`` (the row then says so) or
    ``IdempotencyConflict``, and ``django.db.Error``.
    """
    settings = app_settings()
    try:
        if not rejected.is_whole or len(rejected.body) > settings.max_body_bytes:
            raise BodyTooLarge(settings.max_body_bytes)
        event, digest = read_event(bytes(rejected.body), rejected.headers.get("Content-Type", ""))
        key = rejected.idempotency_key
        recorded = record_event(
            event=event,
            digest=digest,
            source=rejected.source,
            idempotency_key=None if key is None else bytes(key),
            received_at=rejected.received_at,
        )
    except REJECTIONS as rejection:
        _update(rejected, _findings(rejection))
        raise
    _update(rejected, {"accepted_at": timezone.now()})
    return recorded


def _update(rejected: RejectedDelivery, columns: Mapping[str, Any]) -> None:
    # No save(): the count of those not kept may rise meanwhile.
    using = router.db_for_write(RejectedDelivery)
    RejectedDelivery.objects.using(using).filter(pk=rejected.pk).update(**columns)


def count_rejected(since: timedelta) -> int:
    """Return how many deliveries were rejected in the time until now, kept or not."""
    recent = RejectedDelivery.objects.filter(received_at__gte=timezone.now() - since)
    return recent.count() + (recent.aggregate(not_kept=Sum("not_kept"))["not_kept"] or 0)
