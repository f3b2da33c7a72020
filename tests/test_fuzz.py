"""The fuzzer's targets: they pass what the contract allows, and find planted faults."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from fuzz.api import answers
from fuzz.body import EVENT, TOKENS, dictionary, mutated_event, seeds
from fuzz.target import Finding, is_accepted
from tasks import serializers
from tasks.exceptions import ContractViolation
from tasks.wire import fields
from tasks.wire import json_text as parsers
from tests.factories import body, full_body
from tests.test_contract import CASES, RAW_BODIES

NESTED = b'{"metadata":' + b"[" * 200 + b"]" * 200 + b"}"
HOSTILE = [
    b"",
    b"\x00",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"1" * 5000,
    b"NaN",
    b"1e400",
    b'"\\',
    b"{" * 1000,
    NESTED,
]


def encoded(**changes: Any) -> bytes:
    return json.dumps(body(**changes)).encode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case_of_the_contract_breaks_no_promise(case: dict[str, Any]) -> None:
    text = case["body"]
    accepted = is_accepted(RAW_BODIES[case["id"]] if text is None else text.encode("utf-8", "surrogatepass"))

    assert accepted in {"accept": {True}, "reject": {False}, "either": {True, False}}[case["want"]]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: repr(hostile[:10]))
def test_hostile_body_breaks_no_promise(hostile: bytes) -> None:
    assert not is_accepted(hostile)


def test_text_that_is_replaced_breaks_no_promise() -> None:
    assert is_accepted(encoded(error_message="\0\ud800", metadata={"\0": ["\udfff"]}, **{"\udc00": "\0"}))
    assert not is_accepted(encoded(progress="\0", metadata="\ud800"))


def test_progress_that_is_let_through_is_found(monkeypatch: Any) -> None:
    monkeypatch.setattr(fields.ProgressField, "to_internal_value", lambda self, data: float(data))

    assert is_accepted(encoded(progress=100))
    with pytest.raises(Finding, match="progress is 0 to 100: 101"):
        is_accepted(encoded(progress=101))


def test_text_that_no_database_holds_is_found(monkeypatch: Any) -> None:
    monkeypatch.setattr(parsers, "_storable", lambda value: value)

    for changes in ({"metadata": {"\0": 1}}, {"status": "\0"}, {"a": [["\ud800"]]}, {"progress": "\0"}):
        with pytest.raises(Finding, match=r"no U\+0000"):
            is_accepted(encoded(**changes))


def test_text_that_fits_no_column_is_found(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"MAX_STRING_LENGTH": 300}

    with pytest.raises(Finding, match="text fits its column: 'task_id'"):
        is_accepted(encoded(task_id="t" * 256))


def test_digest_that_changes_is_found(monkeypatch: Any) -> None:
    monkeypatch.setattr("fuzz.target.payload_digest", lambda value: random.randbytes(32))

    with pytest.raises(Finding, match="same digest"):
        is_accepted(encoded())


def test_event_that_its_canonical_json_is_not_is_found(monkeypatch: Any) -> None:
    validated = serializers.TaskStatusEventSerializer.run_validation
    others = itertools.count()

    def differ(self: Any, data: Any) -> Any:
        return validated(self, data) | {"status": f"s{next(others)}"}

    monkeypatch.setattr(serializers.TaskStatusEventSerializer, "run_validation", differ)

    with pytest.raises(Finding, match="the canonical JSON is the same event"):
        is_accepted(encoded())


def test_event_that_is_not_the_tasks_last_is_found(monkeypatch: Any) -> None:
    monkeypatch.setattr("fuzz.target.order_key", lambda *_, **__: "another")

    with pytest.raises(Finding, match="the event is the task's last"):
        is_accepted(encoded())


def test_any_other_exception_is_a_finding(monkeypatch: Any) -> None:
    def fail(self: Any, data: Any) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(fields.TimeField, "to_internal_value", fail)

    with pytest.raises(ValueError, match="planted"):
        is_accepted(encoded(timestamp=""))


@pytest.mark.parametrize(
    ("items", "promise"),
    [
        ([], "a rejection has items"),
        ([{"type": "a", "loc": ["body"]}], "an item's keys"),
        ([{"type": "a", "loc": ["body"], "msg": None}], "type and msg are text"),
        ([{"type": "a", "loc": ["query"], "msg": "b"}], "loc begins with the body"),
        ([{"type": "a", "loc": ["body", 10_000], "msg": "b"}], "loc is names, and positions in the body"),
    ],
)
def test_rejection_that_is_malformed_is_found(monkeypatch: Any, items: Any, promise: str) -> None:
    reject_with(monkeypatch, items)

    with pytest.raises(Finding, match=promise):
        is_accepted(encoded())


@pytest.mark.parametrize(("error", "exception"), [({1}, TypeError), (float("nan"), ValueError)])
def test_rejection_that_cannot_be_answered_and_kept_is_found(
    monkeypatch: Any, error: Any, exception: type[Exception]
) -> None:
    reject_with(monkeypatch, [{"type": "a", "loc": ["body"], "msg": "b", "ctx": {"error": error}}])

    with pytest.raises(exception):
        is_accepted(encoded())


def reject_with(monkeypatch: Any, items: Any) -> None:
    def reject(self: Any, data: Any) -> None:
        violation = ContractViolation([])
        violation.items = items
        raise violation

    monkeypatch.setattr(serializers.TaskStatusEventSerializer, "run_validation", reject)


def test_seeds_are_the_contracts() -> None:
    assert len(seeds()) == len(CASES) - len(RAW_BODIES)
    assert {is_accepted(seed) for seed in seeds()} == {True, False}


def test_dictionary_is_in_libfuzzers_format() -> None:
    lines = dictionary(["a"]).splitlines()

    assert len(lines) == len(TOKENS) + 1
    assert (lines[0], lines[-1]) == (r'"\x22"', r'"\x22\x61\x22\x3a"')


@pytest.mark.parametrize("start", [json.dumps(full_body()).encode(), b"[]", b"\xff", b"[" * 100_000])
def test_one_member_is_mutated_and_the_others_stay(start: bytes) -> None:
    before = full_body() if start[:1] == b"{" else EVENT

    for seed in range(50):
        mutated = json.loads(mutated_event(start, list(before), lambda part: part[:1] and b'"mutated"', seed))

        changed = [name for name in before if mutated[name] != before[name]]
        assert len(changed) == 1
        assert set(mutated) == set(before)
        assert "mutated" in mutated[changed[0]]


def test_answers_are_counted_by_the_servers_log(tmp_path: Any) -> None:
    log = tmp_path / "server.log"
    records = [{"logger": "sartiq_tasks.deliveries", "status": status} for status in (200, 422, 200)]
    other = [{"logger": "django.request", "message": "Not Found"}]
    log.write_text("\n".join(["Starting", *map(json.dumps, [*records, *other])]))

    assert answers(log) == {200: 2, 422: 1}
