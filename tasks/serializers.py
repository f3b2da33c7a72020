"""Serializers: an event as senders post it, which knows the wire only, and a task for a host's own API."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

from rest_framework import serializers

from .conf import app_settings
from .exceptions import ContractViolation, error_item
from .models import Task
from .wire.body import check_media_type
from .wire.canonical import payload_digest
from .wire.fields import ObjectField, ProgressField, TextField, TimeField, WireField
from .wire.json_text import parse_json

__all__ = ("TaskSerializer", "read_event")

_STATUS = "app__services__compute_server__api_client__models__task_status__TaskStatus"


class TaskStatusEventSerializer(serializers.Serializer[Any]):
    """Event for generic task status updates.

    ``run_validation()`` returns every field of the schema (absent ones as their default) and what
    the schema does not know under ``unknown_fields``, or raises ``ContractViolation`` with the
    items in the schema's field order. It keeps no state: one instance serves all threads.
    """

    event_type = TextField(component="EventType")
    task_id = TextField(title="Task Id")
    status = TextField(component=_STATUS, allow_null=True)
    entity_id = TextField(title="Entity Id", allow_null=True, required=False)
    origin_instance = TextField(title="Origin Instance", allow_null=True, required=False)
    origin_zone = TextField(title="Origin Zone", allow_null=True, required=False)
    origin_version = TextField(title="Origin Version", allow_null=True, required=False)
    timestamp = TimeField(title="Timestamp", allow_null=True, required=False)
    metadata = ObjectField(title="Metadata", allow_null=True, required=False)
    progress = ProgressField(title="Progress", help_text="Task progress percentage")
    error_message = TextField(title="Error Message", limited=False, allow_null=True, required=False)
    error_category = TextField(component="ErrorCategory-Input", allow_null=True, required=False)
    completed_at = TimeField(title="Completed At", allow_null=True, required=False)
    started_at = TimeField(title="Started At", allow_null=True, required=False)
    task_type = TextField(title="Task Type")
    additional_properties = ObjectField(title="Additional Properties", default=dict)

    def run_validation(self, data: Any = serializers.empty) -> dict[str, Any]:
        """Return the event, or raise ``ContractViolation``."""
        return self.to_internal_value(data)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """See ``run_validation()``."""
        if not isinstance(data, Mapping):
            msg = "Input should be a valid dictionary or object to extract fields from"
            raise ContractViolation([error_item("model_attributes_type", msg, value=data)])
        limit = app_settings().max_string_length
        event: dict[str, Any] = {}
        items: list[dict[str, Any]] = []
        for name, field in self._wire_fields:
            try:
                event[name] = self._value(name, field, data, limit)
            except ContractViolation as violation:
                items += violation.items
        if items:
            raise ContractViolation(_as_the_original(items))
        event["unknown_fields"] = {key: value for key, value in data.items() if key not in event}
        return event

    @cached_property
    def _wire_fields(self) -> list[tuple[str, WireField]]:
        # DRF's mapping of fields looks each one up again.
        return cast("list[tuple[str, WireField]]", list(self.fields.items()))

    @staticmethod
    def _value(name: str, field: WireField, data: Mapping[str, Any], limit: int) -> Any:
        if name in data:
            value = data[name]
            if value is None and field.allow_null:
                return None
            if field.limited and isinstance(value, str) and len(value) > limit:
                msg = f"String should have at most {limit} characters"
                field.reject("string_too_long", msg, value, ctx={"max_length": limit})
            return field.to_internal_value(value)
        if field.required:
            raise ContractViolation([error_item("missing", "Field required", [name], value=data)])
        return None if field.default is serializers.empty else field.get_default()


def _as_the_original(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out numbers given as times, if anything else is wrong with the body.

    The original took such numbers for epochs. So a body that it rejected for another fault gets the same
    answer as from the original.
    """
    others = [item for item in items if not _is_epoch(item)]
    return others or items


def _is_epoch(item: dict[str, Any]) -> bool:
    value = item.get("input")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return bool(item["type"] == "datetime_type" and is_number)


#: The one instance that validates every delivery: building the fields costs more than using them.
task_status_event = TaskStatusEventSerializer()


def read_event(raw: bytes, content_type: str) -> tuple[dict[str, Any], bytes]:
    """Return the event in the body ``raw`` and the body's digest.

    Raises ``ContractViolation``, or DRF's ``UnsupportedMediaType``.
    """
    check_media_type(content_type)
    body = parse_json(raw, app_settings())
    return task_status_event.run_validation(body), payload_digest(body)


class TaskSerializer(serializers.ModelSerializer[Task]):
    """A task for a host's own API: read-only, and without the columns that only the ledger needs."""

    class Meta:
        model = Task
        fields = (
            "task_id", "status", "meaning", "is_ended", "status_at", "phase", "phase_since", "progress",
            "event_type", "task_type", "entity_id", "origin_instance", "origin_zone", "origin_version",
            "error_message", "error_category", "started_at", "completed_at", "first_event_at",
            "last_event_at", "last_received_at", "event_count",
        )  # fmt: skip
        read_only_fields = fields
