"""Rebuild the body that an event came in, as far as the stored columns allow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any

from rest_framework.fields import empty

from ..models import TaskStatusEvent
from ..serializers import task_status_event
from ..wire.canonical import canonical_json

# A column holds the same for a field that was null or left out, and for 5 and 5.0; and a time in UTC,
# however the sender wrote it.
_ZONES = ("Z", "+00:00", "")
_NOTHING = {
    str(name): None if field.default is empty else field.get_default()
    for name, field in task_status_event.fields.items()
    if not field.required
}


@dataclass(frozen=True, slots=True)
class Payload:
    """The canonical JSON of a body that would be stored as the event is."""

    text: str
    #: Whether its SHA-256 is that of the body that was sent.
    is_as_sent: bool

    @property
    def indented(self) -> str:
        """The text with line breaks."""
        return json.dumps(json.loads(self.text), indent=2, ensure_ascii=False)


def payload_of(event: TaskStatusEvent) -> Payload:
    """Return the body that was sent if the digest proves it, otherwise one with every field of the schema."""
    texts = [canonical_json(body) for body in _bodies(event)]
    for text in texts:
        if hashlib.sha256(text.encode()).digest() == bytes(event.payload_digest):
            return Payload(text, is_as_sent=True)
    return Payload(texts[0], is_as_sent=False)


def _bodies(event: TaskStatusEvent) -> Iterator[dict[str, Any]]:
    stored = {name: getattr(event, name) for name in map(str, task_status_event.fields)}
    said = {name: value for name, value in stored.items() if name not in _NOTHING or value != _NOTHING[name]}
    for fields, zone, is_whole in product((stored, said), _ZONES, (False, True)):
        body = {name: _written(value, zone, is_whole=is_whole) for name, value in fields.items()}
        yield {**event.unknown_fields, **body}


def _written(value: Any, zone: str, *, is_whole: bool) -> Any:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat()}{zone}"
    return int(value) if is_whole and isinstance(value, float) and value.is_integer() else value
