"""Bodies that a compute cluster posts."""

from __future__ import annotations

from typing import Any


def event_body(**changes: Any) -> dict[str, Any]:
    """Return a minimal valid body with ``changes``."""
    minimal = {
        "event_type": "training_status_update",
        "task_id": "task-1",
        "status": "running",
        "progress": 5,
        "task_type": "training",
    }
    return {**minimal, **changes}


def full_event_body(**changes: Any) -> dict[str, Any]:
    """Return a valid body with every field of the schema and an unknown one, with ``changes``."""
    complete = event_body(
        entity_id="entity-1",
        origin_instance="gpu-7",
        origin_zone="eu-1a",
        origin_version="1.2.3",
        timestamp="2026-05-01T12:00:00.5Z",
        metadata={"epoch": 3, "losses": [0.5, 0.25]},
        error_message="out of memory",
        error_category="resource",
        completed_at="2026-05-01T12:00:00Z",
        started_at="2026-05-01T11:00:00+00:00",
        additional_properties={"a": {"b": None}},
        gpu="A100",
    )
    return complete | changes
