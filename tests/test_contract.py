"""The wire contract, case by case, through real requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

_LINES = (Path(__file__).parent / "contract" / "cases.jsonl").read_text().strip().split("\n")
CASES = [json.loads(line) for line in _LINES]
# The bodies that JSON text cannot hold, told by the ids of their cases.
_VALID = b'{"event_type":"x","task_id":"t","status":null,"progress":5,"task_type":"caf\xc3\xa9"}'
RAW_BODIES = {
    "body_bytes/bom_only": b"\xef\xbb\xbf",
    "body_bytes/bom_empty_obj": b"\xef\xbb\xbf{}",
    "body_bytes/latin1_in_string": _VALID.decode().encode("latin-1"),
    "body_bytes/utf16be_bom": b"\xfe\xff" + _VALID.decode().encode("utf-16-be"),
    "body_bytes/utf16le": _VALID.decode().encode("utf-16-le"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(case: dict[str, Any], post: Any) -> None:
    text = case["body"]
    response = post(RAW_BODIES[case["id"]] if text is None else text.encode("utf-8", "surrogatepass"))

    assert response.status_code in {"accept": {200}, "reject": {422}, "either": {200, 422}}[case["want"]]
    if response.status_code == 422:
        items = response.json()["detail"]
        assert items
        assert all(
            {"type", "loc", "msg"} <= set(item) <= {"type", "loc", "msg", "input", "ctx"} for item in items
        )
        if case["errors"]:
            assert [[item["loc"], item["type"], item["msg"]] for item in items] == case["errors"]
