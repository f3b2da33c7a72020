"""Keep Schemathesis from posting what no schema forbids (``SCHEMATHESIS_HOOKS=fuzz.hooks``)."""

from __future__ import annotations

from typing import Any

import schemathesis

from tasks.conf import COLUMN_LENGTH

#: The years in which a time may lie outside the years 1 to 9999 in UTC.
EDGES = ("0000", "0001", "9999")
TIMES = ("timestamp", "started_at", "completed_at")


def filter_body(context: Any, body: Any) -> bool:
    """Return whether ``body`` may be posted: not if the contract rejects it by a rule that no schema has.

    The published schema knows no length, and JSON Schema no bounds of a date-time: what must take all
    that the schema allows would report them. ``fuzz.body`` tries them.
    """
    if not isinstance(body, dict):
        return True
    texts = {name: value for name, value in body.items() if isinstance(value, str)}
    is_short = all(len(text) <= COLUMN_LENGTH for name, text in texts.items() if name != "error_message")
    return is_short and not any(texts.get(name, "").startswith(EDGES) for name in TIMES)


schemathesis.hook(filter_body)
