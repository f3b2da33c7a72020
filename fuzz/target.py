"""The promises about any bytes that are posted, which the fuzzer tries to break."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rest_framework.renderers import JSONRenderer

from tasks.conf import COLUMN_LENGTH, app_settings
from tasks.exceptions import ContractViolation
from tasks.lifecycle import order_key, state_of, tie_of
from tasks.serializers import task_status_event
from tasks.wire.canonical import canonical_json, payload_digest
from tasks.wire.json_text import parse_json

# PostgreSQL holds neither, in text or in jsonb.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Finding(AssertionError):
    """A promise that is broken."""


def is_accepted(body: bytes) -> bool:
    """Return whether ``body`` is accepted, and hold the outcome to every promise.

    Raises ``Finding`` where a promise is broken; any other exception is a finding too.
    """
    try:
        # As read_event() does, which keeps the parsed body to itself.
        value = parse_json(body, app_settings())
        event, digest = task_status_event.run_validation(value), payload_digest(value)
    except ContractViolation as violation:
        _check_rejection(violation.items, len(body))
        return False
    except UnicodeEncodeError as error:
        raise Finding(f"no U+0000 and no surrogate is left: {error}") from error
    _check_event(value, event, digest)
    return True


def _check_rejection(items: Any, length: int) -> None:
    _promise(isinstance(items, list) and items, "a rejection has items", items)
    for item in items:
        keys = set(item)
        _promise(
            {"type", "loc", "msg"} <= keys <= {"type", "loc", "msg", "input", "ctx"}, "an item's keys", item
        )
        _promise(
            isinstance(item["type"], str) and isinstance(item["msg"], str), "type and msg are text", item
        )
        _promise(item["loc"][0] == "body", "loc begins with the body", item)
        _promise(
            all(isinstance(part, str) or 0 <= part <= length for part in item["loc"]),
            "loc is names, and positions in the body",
            item,
        )
    _check_text(items)
    JSONRenderer().render({"detail": items})
    canonical_json(items).encode()  # as it is kept


def _check_event(value: Any, event: dict[str, Any], digest: bytes) -> None:
    settings = app_settings()
    progress = event["progress"]
    _promise(isinstance(progress, float) and 0 <= progress <= 100, "progress is 0 to 100", progress)
    _check_text(event)
    for name, text in event.items():
        if isinstance(text, str) and name != "error_message":
            _promise(len(text) <= COLUMN_LENGTH, "text fits its column", name)

    again = parse_json(canonical_json(value).encode(), settings)
    _promise(payload_digest(again) == digest, "the canonical JSON has the same digest", value)
    _promise(task_status_event.run_validation(again) == event, "the canonical JSON is the same event", value)

    tie = tie_of(digest, digest)
    key = order_key(event, received_at=_NOON, tie=tie, settings=settings)
    state = state_of(event, event_id=1, received_at=_NOON, tie=tie, settings=settings)
    _promise(state["last_order"] == key, "the event is the task's last", state)


def _check_text(value: Any) -> None:
    for text in _texts(value):
        _promise(not _UNSTORABLE.search(text), "text has no U+0000 and no lone surrogate", text)


def _texts(value: Any) -> Iterator[str]:
    """Return all text in ``value``, keys and values at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _promise(holds: object, promise: str, found: object) -> None:
    if not holds:
        raise Finding(f"{promise}: {found!r:.2000}")
