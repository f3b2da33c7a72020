"""Keep rejected deliveries for a person to look at, try them again after a fix, and settle them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import Error, router, transaction
from django.db.models import Case, Count, F, OuterRef, Q, Subquery, Sum, When
from django.utils import timezone
from rest_framework.exceptions import APIException, UnsupportedMediaType

from .conf import COLUMN_LENGTH, app_settings
from .database.data_faults import is_fault_of_data
from .database.live_connection import on_live_connection
from .exceptions import BodyTooLarge, ContractViolation
from .ledger.recording import Recorded, record_event
from .models import RejectedDelivery, TaskStatusEvent
from .serializers import read_event
from .wire.json_text import members

__all__ = ("try_again",)

logger = logging.getLogger("sartiq_tasks.rejections")

#: A delivery that one of these rejects is kept: the fault is its own, whoever sent it.
REJECTIONS = (ContractViolation, BodyTooLarge, UnsupportedMediaType)
#: The headers that are kept because they help to find the fault. None of them can hold a credential.
HEADERS = (
    "Content-Encoding", "Content-Length", "Content-Type", "Idempotency-Key", "Transfer-Encoding",
    "User-Agent", "Webhook-Id", "Webhook-Timestamp", "X-Request-Id",
)  # fmt: skip
#: How many characters of a header are kept, and how many bytes of a body that is over the limit.
MAX_HEADER_LENGTH = 1000
MAX_START_BYTES = 4096
#: At most this many open deliveries, the newest, are compared with what their senders have sent since.
MOST_COMPARED = 200


def keep_rejected(
    rejection: APIException,
    *,
    body: bytes,
    headers: Mapping[str, str],
    source: str,
    idempotency_key: bytes | None,
) -> None:
    """Keep a delivery that ``rejection``, one of ``REJECTIONS``, rejects, in a transaction of its own.

    At most ``REJECTED_PER_MINUTE`` of one client are kept in a minute; the others are only counted. If the
    database cannot keep it, that is logged, and the answer stays the same.
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
    rejected.named_task, rejected.named_status = _named_in(rejected.body)
    try:
        try:
            on_live_connection(lambda: _keep(rejected))
        except (Error, UnicodeEncodeError) as error:
            if not is_fault_of_data(error):
                raise
            # Every database can hold the body, which is bytes. The other columns may quote from it.
            for column in ("source", "errors", "headers"):
                setattr(rejected, column, _ascii(getattr(rejected, column)))
            # This database has no task of such a name.
            rejected.named_task = rejected.named_status = None
            on_live_connection(lambda: _keep(rejected))
    except Error:
        logger.exception(
            "A rejected delivery could not be kept: status=%d client=%r", rejected.status, rejected.source
        )


def _named_in(body: bytes) -> tuple[str | None, str | None]:
    """Return the ids of the task and of the status in a body, as far as it can be read: it may break off."""
    named = {key: value for key, value, *_place in members(_readable(body))}
    task, status = (
        value if isinstance(value, str) and value.isprintable() and 0 < len(value) <= COLUMN_LENGTH else None
        for value in (named.get("task_id"), named.get("status"))
    )
    return task, status


def _readable(body: bytes) -> str:
    # What is not UTF-8 becomes something that is not printable.
    return body.decode(errors="surrogateescape").removeprefix("\ufeff")


def _ascii(value: Any) -> Any:
    """Return ``value`` with every character escaped that is not ASCII, at any depth."""
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
        number = of_minute.count()
    # Apart: on SQLite a transaction that begins by reading may be unable to write.
    with transaction.atomic(using=using):
        if number < app_settings().rejected_per_minute:
            rejected.save(using=using, force_insert=True)
        else:
            last = of_minute.order_by("-pk").values("pk")[:1]
            RejectedDelivery.objects.using(using).filter(pk__in=last).update(not_kept=F("not_kept") + 1)


def _findings(rejection: APIException) -> dict[str, Any]:
    """Return the columns that say what was wrong."""
    if isinstance(rejection, ContractViolation):
        errors = rejection.items
    else:
        errors = [{"type": rejection.get_codes(), "loc": ["body"], "msg": _text(str(rejection.detail))}]
    faults = dict.fromkeys(f"{field_of(error)}:{error['type']}" for error in errors)
    return {"status": rejection.status_code, "errors": errors, "faults": f" {' '.join(faults)} "}


def field_of(error: Mapping[str, Any]) -> str:
    """Return the field that an item of a 422 is about, or ``body`` if it is about the whole body."""
    place = error["loc"][1] if len(error["loc"]) > 1 else "body"
    return place if isinstance(place, str) else "body"


def _text(value: str) -> str:
    # PostgreSQL cannot store U+0000.
    return value[:MAX_HEADER_LENGTH].replace("\0", "\N{REPLACEMENT CHARACTER}")


def try_again(rejected: RejectedDelivery, *, by: str | None = None) -> Recorded:
    """Validate and record a rejected delivery again, as of the time it was received, and note who did it.

    Trying it again is harmless, because an event is stored once. Raises what rejects it now, one of
    ``REJECTIONS`` (which the row then shows) or ``IdempotencyConflict``, and ``django.db.Error``.
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
    tried = RejectedDelivery.Outcome.TRIED
    _update(rejected, {"outcome": tried, "settled_at": timezone.now(), "settled_by": by})
    return recorded


def settle(rejected: RejectedDelivery, *, by: str) -> bool:
    """Note that a delivery needs nobody, and who says so; return whether it was open."""
    settled = RejectedDelivery.Outcome.SETTLED
    columns = {"outcome": settled, "settled_at": timezone.now(), "settled_by": by}
    return _update(rejected, columns, outcome=RejectedDelivery.Outcome.OPEN)


def reopen(rejected: RejectedDelivery) -> bool:
    """Take back that a delivery was settled by staff; return whether it was."""
    columns = {"outcome": RejectedDelivery.Outcome.OPEN, "settled_at": None, "settled_by": None}
    return _update(rejected, columns, outcome=RejectedDelivery.Outcome.SETTLED)


def sent_again() -> Any:
    """Return which of the newest open deliveries their senders have sent again since, and when.

    Such a one is followed by an accepted event of its task that has its status, or its idempotency key. Citus
    joins no table of the coordinator's to the events, so there staff settle them by hand.
    """
    rejected = RejectedDelivery.objects.using(router.db_for_write(RejectedDelivery))
    if app_settings().distributed:
        return rejected.none()
    newest = rejected.open().exclude(named_task=None).order_by("-received_at").values("pk")[:MOST_COMPARED]
    accepted = TaskStatusEvent.objects.filter(
        Q(status=OuterRef("named_status")) | Q(idempotency_key=OuterRef("idempotency_key")),
        task_id=OuterRef("named_task"),
        received_at__gt=OuterRef("received_at"),
    )
    first = accepted.order_by("pk").values("received_at")[:1]
    return rejected.filter(pk__in=newest).annotate(again_at=Subquery(first)).exclude(again_at=None)


def note_those_sent_again() -> int:
    """Note which deliveries were ``sent_again()``, and return how many."""
    found = {one.pk: one.again_at for one in sent_again().only("pk")}
    if not found:
        return 0
    rows = RejectedDelivery.objects.using(router.db_for_write(RejectedDelivery)).open().filter(pk__in=found)
    at = Case(*(When(pk=pk, then=again_at) for pk, again_at in found.items()))
    try:
        with transaction.atomic(using=rows.db):
            return rows.update(outcome=RejectedDelivery.Outcome.SENT, settled_at=at)
    except Error:
        return 0  # the next reader notes them


def _update(rejected: RejectedDelivery, columns: Mapping[str, Any], **only_if: Any) -> bool:
    # Not save(): ``not_kept`` may rise meanwhile.
    using = router.db_for_write(RejectedDelivery)
    return bool(RejectedDelivery.objects.using(using).filter(pk=rejected.pk, **only_if).update(**columns))


def count_rejected(within: timedelta) -> int:
    """Return how many deliveries were rejected in the time ``within`` until now, kept or only counted."""
    recent = RejectedDelivery.objects.filter(received_at__gte=timezone.now() - within)
    counted = recent.aggregate(kept=Count("pk"), others=Sum("not_kept"))
    return int(counted["kept"] + (counted["others"] or 0))
