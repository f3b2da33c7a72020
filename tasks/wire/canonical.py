"""Canonical JSON, and the digest by which equal bodies are recognised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def payload_digest(body: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of the canonical JSON of ``body`` in UTF-8."""
    return hashlib.sha256(canonical_json(body).encode()).digest()


def canonical_json(value: Any) -> str:
    """Return ``value`` as JSON with sorted keys, no white space, and only the escapes that JSON demands."""
    return _CANONICAL.encode(value) if value != {} else "{}"


# Parsed JSON holds no circle, and looking for one takes longer.
_CANONICAL = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)
