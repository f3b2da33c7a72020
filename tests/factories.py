"""Factory functions for tests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from oauth2_provider.models import get_access_token_model, get_application_model, set_token_value

from tasks.auth.confirmation import Condition
from tasks.exceptions import ContractViolation, error_item
from tasks.ledger.recording import Recorded, record_event
from tasks.models import RejectedDelivery
from tasks.rejections import keep_rejected
from tasks.serializers import read_event, task_status_event
from tasks.testing.bodies import event_body as body
from tasks.testing.bodies import full_event_body as full_body  # noqa: F401 (tests take it from here)
from tasks.testing.compute import make_token
from tasks.wire.canonical import payload_digest

numbers = itertools.count(1)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def record(
    received_at: datetime | None = None,
    key: bytes | None = None,
    confirming: Sequence[Condition] = (),
    **changes: Any,
) -> Recorded:
    """Record a minimal event with ``changes`` as the webhook would."""
    sent = body(**changes)
    return record_event(
        event=task_status_event.run_validation(sent),
        digest=payload_digest(sent),
        source="tests",
        idempotency_key=key,
        received_at=received_at,
        confirming=confirming,
    )


def statements_of_event(**changes: Any) -> list[str]:
    """Return the statements that record one event, without their parameters."""
    seen: list[str] = []

    def keep(execute: Any, sql: str, *args: Any) -> Any:
        seen.append(sql)
        return execute(sql, *args)

    with connection.execute_wrapper(keep):
        record(**changes)
    return [sql for sql in seen if "SAVEPOINT" not in sql]


def rejected(content: bytes | None = None, **changes: Any) -> RejectedDelivery:
    """Return a delivery that was rejected for its progress, or for the fault in ``content``."""
    sent = json.dumps(body(progress=101)).encode() if content is None else content
    keep_rejected(
        _rejection(sent), body=sent, headers={}, source="tests", idempotency_key=changes.pop("key", None)
    )
    kept = RejectedDelivery.objects.latest("pk")
    RejectedDelivery.objects.filter(pk=kept.pk).update(**{"received_at": kept.received_at, **changes})
    kept.refresh_from_db()
    return kept


def _rejection(sent: bytes) -> ContractViolation:
    try:
        read_event(sent, "")
    except ContractViolation as violation:
        return violation
    return ContractViolation([error_item("string_type", "Input should be a valid string", ["status"])])


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def client_token() -> str:
    """Return a valid token of a new compute client."""
    return make_token(f"cluster-{next(numbers)}")


def token(**changes: Any) -> str:
    """Return a token made with ``changes``: user, scope, expires, application, resource."""
    value = f"token-{next(numbers)}"
    defaults = {"scope": "tasks:webhook", "expires": datetime.now(UTC) + timedelta(hours=1)}
    access_token = get_access_token_model()(**(defaults | changes))
    set_token_value(access_token, value)
    access_token.save()
    return value


def application(**changes: Any) -> Any:
    """Return a confidential client-credentials application."""
    defaults = {
        "name": f"application-{next(numbers)}",
        "client_type": "confidential",
        "authorization_grant_type": "client-credentials",
    }
    return get_application_model().objects.create(**(defaults | changes))


def user(*permissions: str, **changes: Any) -> Any:
    """Return a user who holds ``permissions`` of the app, such as ``view_task``."""
    name = changes.pop("username", f"user-{next(numbers)}")
    created = get_user_model().objects.create_user(name, password="password", **changes)
    created.user_permissions.set(
        Permission.objects.filter(content_type__app_label="sartiq_tasks", codename__in=permissions)
    )
    return created
