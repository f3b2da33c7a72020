"""The schemas of the webhook's body and of its 422, as the original endpoint published them."""

from __future__ import annotations

from typing import Any

from rest_framework.fields import empty

from ..serializers import task_status_event
from ..wire.fields import Schema, WireField

EXAMPLE: Schema = {
    "event_type": "training_status_update",
    "task_id": "train-2041",
    "status": "running",
    "progress": 42.5,
    "task_type": "training",
    "timestamp": "2026-05-01T10:00:00Z",
    "origin_zone": "eu-1a",
    "metadata": {"epoch": 3, "loss": 0.25},
}


def ref(component: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{component}"}


# FastAPI's own two, which senders' generated clients know by these names.
VALIDATION_ERROR: Schema = {
    "title": "ValidationError",
    "type": "object",
    "required": ["loc", "msg", "type"],
    "properties": {
        "loc": {
            "title": "Location",
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        },
        "msg": {"title": "Message", "type": "string"},
        "type": {"title": "Error Type", "type": "string"},
        "input": {"title": "Input"},
        "ctx": {"title": "Context", "type": "object"},
    },
}


def validation_errors(item: Schema) -> Schema:
    """Return the schema of a 422; ``item`` is that of one error."""
    return {
        "title": "HTTPValidationError",
        "type": "object",
        "properties": {"detail": {"title": "Detail", "type": "array", "items": item}},
    }


def enums() -> dict[str, Schema]:
    """Return the components that the published document names for single fields."""
    return {
        field.component: {
            "title": field.component.rpartition("__")[2].removesuffix("-Input"),
            **field.schema,
        }
        for field in task_status_event.fields.values()
        if isinstance(field, WireField) and field.component
    }


def body_schema(serializer: Any, *, has_components: bool, has_null_type: bool) -> Schema:
    """Return the schema of the webhook's body.

    ``has_components``: single fields refer to the published components; otherwise their schemas are inlined.
    ``has_null_type``: the document is OpenAPI 3.1, where null is a type; 3.0 has ``nullable``.
    """
    fields = serializer.fields
    return {
        "title": "TaskStatusEvent",
        "type": "object",
        "description": serializer.__doc__.partition(".")[0],
        "required": [name for name, field in fields.items() if field.required],
        "properties": {
            name: _property(field, has_components=has_components, has_null_type=has_null_type)
            for name, field in fields.items()
        },
    }


def _property(field: Any, *, has_components: bool, has_null_type: bool) -> Schema:
    schema = ref(field.component) if field.component and has_components else dict(field.schema)
    if field.allow_null:
        schema = {"anyOf": [schema, {"type": "null"}]} if has_null_type else {**schema, "nullable": True}
    if field.title:
        schema["title"] = field.title
    if field.help_text:
        schema["description"] = field.help_text
    if field.default is not empty:
        schema["default"] = field.default()
    return schema


def oauth2_scheme(token_path: str) -> Schema:
    """Return the security scheme of tokens that ``token_path`` issues, by either grant.

    The path is absolute: what a relative one means depends on where the document is.
    """
    flow: Schema = {"scopes": {}, "tokenUrl": token_path}
    return {"type": "oauth2", "flows": {"password": flow, "clientCredentials": flow}}
