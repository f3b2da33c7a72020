"""The one JSON text of a value, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def payload_digest(body: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of the canonical JSON of ``body``: keys sorted, no white space, UTF-8."""
    return hashlib.sha256(canonical_json(body).encode()).digest()


def canonical_json(value: Any) -> str:
    """Return the one JSON text of ``value``: keys sorted, no white space, no escapes that can be helped."""
    return _CANONICAL.encode(value)


_CANONICAL = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
