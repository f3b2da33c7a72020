"""The body's schema, through the serializer itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.exceptions import MAX_INPUT_BYTES, ContractViolation
from tasks.models import Task
from tasks.serializers import TaskSerializer, TaskStatusEventSerializer, task_status_event
from tests.factories import NOON, body, full_body, record

FIELDS = tuple(TaskStatusEventSerializer().fields)
LIMITED = (
    "event_type",
    "task_id",
    "status",
    "entity_id",
    "origin_instance",
    "origin_zone",
    "origin_version",
    "error_category",
    "task_type",
)


def items(**changes: Any) -> list[dict[str, Any]]:
    with pytest.raises(ContractViolation) as caught:
        task_status_event.run_validation(body(**changes))
    return caught.value.items


def test_absent_fields_have_the_schemas_defaults() -> None:
    event = task_status_event.run_validation(body())

    assert tuple(event) == (*FIELDS, "unknown_fields")
    required = {"event_type", "task_id", "status", "progress", "task_type"}
    defaults = {name: value for name, value in event.items() if name not in required}
    assert defaults.pop("additional_properties") == defaults.pop("unknown_fields") == {}
    assert set(defaults.values()) == {None}


def test_defaults_are_not_shared() -> None:
    one, other = (task_status_event.run_validation(body()) for _ in range(2))

    assert one["additional_properties"] is not other["additional_properties"]


def test_unknown_keys_are_kept_apart() -> None:
    event = task_status_event.run_validation(body(TASK_ID=7, id=1, unknown_fields={"a": 1}))

    assert event["task_id"] == "task-1"
    assert event["unknown_fields"] == {"TASK_ID": 7, "id": 1, "unknown_fields": {"a": 1}}


def test_every_field_is_taken() -> None:
    sent = full_body()
    event = task_status_event.run_validation(sent)

    assert {name: event[name] for name in ("metadata", "additional_properties", "error_message")} == {
        name: sent[name] for name in ("metadata", "additional_properties", "error_message")
    }


@pytest.mark.parametrize("field", LIMITED)
def test_the_limit_of_names(field: str) -> None:
    assert task_status_event.run_validation(body(**{field: "é" * 255}))[field] == "é" * 255
    assert items(**{field: "x" * 256}) == [
        {
            "type": "string_too_long",
            "loc": ["body", field],
            "msg": "String should have at most 255 characters",
            "input": "x" * 256,
            "ctx": {"max_length": 255},
        }
    ]


def test_the_limit_is_a_setting(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"MAX_STRING_LENGTH": 20 + 2}

    assert items(task_id="x" * 23)[0]["ctx"] == {"max_length": 22}
    assert task_status_event.run_validation(body(error_message="x" * 5000))


@pytest.mark.parametrize(
    ("value", "number", "integer"),
    [
        (101, ("less_than_equal", {"le": 100.0}), ("less_than_equal", {"le": 100})),
        (-1, ("greater_than_equal", {"ge": 0.0}), ("greater_than_equal", {"ge": 0})),
        (100.5, ("less_than_equal", {"le": 100.0}), ("int_type", None)),
        (1e3, ("less_than_equal", {"le": 100.0}), ("int_type", None)),
        (-0.1, ("greater_than_equal", {"ge": 0.0}), ("int_type", None)),
        (True, ("float_type", None), ("int_type", None)),
        ("50", ("float_type", None), ("int_type", None)),
        ([], ("float_type", None), ("int_type", None)),
        ({}, ("float_type", None), ("int_type", None)),
        (None, ("float_type", None), ("int_type", None)),
    ],
)
def test_a_bad_progress_gives_two_items(value: Any, number: Any, integer: Any) -> None:
    first, second = items(progress=value)

    assert (first["type"], first.get("ctx")) == number
    assert (second["type"], second.get("ctx")) == integer
    assert json.dumps(first.get("ctx")) == json.dumps(number[1]), "100.0 stays a float on the wire"
    assert first["loc"] == ["body", "progress", "constrained-float"]
    assert second["loc"] == ["body", "progress", "constrained-int"]
    assert first["input"] == second["input"] == value


@pytest.mark.parametrize("value", [0, 100, 0.0, 100.0, 1e-9, 33.3])
def test_a_valid_progress_is_a_float(value: float) -> None:
    progress = task_status_event.run_validation(body(progress=value))["progress"]

    assert progress == value
    assert type(progress) is float


@pytest.mark.parametrize("field", ["timestamp", "started_at", "completed_at"])
@pytest.mark.parametrize("value", [True, 0, 1714564800, 1.5, [], {}])
def test_a_time_is_a_string(field: str, value: Any) -> None:
    (item,) = items(**{field: value})

    assert (item["type"], item["msg"]) == ("datetime_type", "Input should be a valid datetime")


def test_an_epoch_is_not_listed_where_the_original_had_reasons_of_its_own() -> None:
    assert [item["type"] for item in items(timestamp=5, task_id=7)] == ["string_type"]
    assert [item["type"] for item in items(timestamp=[5], task_id=7)] == ["string_type", "datetime_type"]


def test_items_stand_in_the_schemas_order() -> None:
    wrong: dict[str, Any] = {name: [] for name in reversed(FIELDS)}
    with pytest.raises(ContractViolation) as caught:
        task_status_event.run_validation(wrong)

    places = [item["loc"][1] for item in caught.value.items]
    assert places == [name for name in FIELDS for _ in range(2 if name == "progress" else 1)]


@pytest.mark.parametrize("value", [None, [], 5, "x", True])
def test_a_body_that_is_not_an_object(value: Any) -> None:
    with pytest.raises(ContractViolation) as caught:
        task_status_event.run_validation(value)

    assert caught.value.items == [
        {
            "type": "model_attributes_type",
            "loc": ["body"],
            "msg": "Input should be a valid dictionary or object to extract fields from",
            "input": value,
        }
    ]


def test_a_missing_field_echoes_the_body() -> None:
    with pytest.raises(ContractViolation) as caught:
        task_status_event.run_validation({"a": 1})

    assert caught.value.items[0] == {
        "type": "missing",
        "loc": ["body", "event_type"],
        "msg": "Field required",
        "input": {"a": 1},
    }


@pytest.mark.parametrize(("size", "echoed"), [(MAX_INPUT_BYTES, True), (MAX_INPUT_BYTES + 1, False)])
def test_a_long_input_is_left_out(size: int, echoed: bool) -> None:
    quotes = 2
    (item,) = items(metadata="x" * (size - quotes))

    assert ("input" in item) is echoed


def test_the_serializer_also_serves_drf() -> None:
    serializer = TaskStatusEventSerializer(data=body(progress=101, task_id=7))

    assert not serializer.is_valid()
    assert {name: [error.code for error in errors] for name, errors in serializer.errors.items()} == {
        "task_id": ["string_type"],
        "progress": ["less_than_equal", "less_than_equal"],
    }
    assert TaskStatusEventSerializer(full_body()).data.keys() == set(FIELDS)


@pytest.mark.django_db
def test_a_task_for_a_hosts_own_api(django_assert_num_queries: Any) -> None:
    record(NOON, status="failed", timestamp="2026-05-01T12:00:00Z", error_message="out of memory")

    with django_assert_num_queries(1):
        shown = TaskSerializer(Task.objects.get()).data

    assert dict(shown) == {
        "task_id": "task-1", "status": "failed", "meaning": "failed", "is_ended": True,
        "status_at": "2026-05-01T12:00:00Z", "phase": "ended", "phase_since": NOON, "progress": 5.0,
        "event_type": "training_status_update", "task_type": "training", "entity_id": None,
        "origin_instance": None, "origin_zone": None, "origin_version": None,
        "error_message": "out of memory", "error_category": None, "started_at": None, "completed_at": None,
        "first_event_at": "2026-05-01T12:00:00Z", "last_event_at": "2026-05-01T12:00:00Z",
        "last_received_at": "2026-05-01T12:00:00Z", "event_count": 1,
    }  # fmt: skip


def test_nothing_of_it_can_be_written() -> None:
    assert [name for name, field in TaskSerializer().fields.items() if not field.read_only] == []
