"""Bodies that are wrong, odd or meant to hurt."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from tests.factories import body
from tests.hostile.conftest import Site
from tests.hostile.wire import Request

REPLACED = "\N{REPLACEMENT CHARACTER}"
LIST_100 = b"[" * 99 + b"]" * 99


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return b'{"metadata":' + opening * depth + closing * depth + b"}"


def event(site: Site, name: str, extra: bytes = b"") -> bytes:
    """Return an event of a task of its own, with ``extra`` as more members."""
    text = json.dumps(body(task_id=f"{name}-{site.front}")).encode()
    return text[:-1] + b"," + extra + b"}" if extra else text


# More members of an event that is stored all the same.
STORED = {
    "nul_in_a_value": rb'"error_message":"a\u0000b"',
    "nul_in_a_key": rb'"metadata":{"a\u0000b":1}',
    "nul_in_an_unknown_key": rb'"a\u0000b":1',
    "nul_deep": rb'"metadata":{"a":[{"b":[{"c\u0000":"d\u0000"}]}]}',
    "nul_in_additional_properties": rb'"additional_properties":{"\u0000":"\u0000"}',
    "high_surrogate": rb'"error_message":"\ud800"',
    "low_surrogate": rb'"error_message":"\udfff"',
    "surrogates_the_wrong_way_round": rb'"error_message":"\udc00\ud800"',
    "surrogate_in_a_key": rb'"metadata":{"\ud800":1}',
    "surrogate_in_an_unknown_key": rb'"\udfff":{"\udfff":["\udfff"]}',
    "surrogate_in_utf_8": b'"error_message":"\xed\xa0\x80"',
    "surrogate_pair_escaped": rb'"error_message":"\ud83d\ude00"',
    "raw_delete_and_c1": b'"error_message":"\x7f\xc2\x80"',
    "right_to_left_override": '"error_message":"\u202eabc"'.encode(),
    "noncharacter": '"error_message":"\uffff\U0010ffff"'.encode(),
    "100_levels": b'"metadata":{"a":' + LIST_100 + b"}",
    "1000_siblings": b'"metadata":{"a":[' + b",".join([b"[]"] * 1000) + b"]}",
    "100_000_keys": b'"metadata":{' + b",".join(b'"%x":0' % n for n in range(100_000)) + b"}",
    "100_000_unknown_keys": b",".join(b'"%x":0' % n for n in range(100_000)),
    "duplicate_keys": b'"status":"a","status":"b"',
    "duplicate_keys_10_000_times": b",".join([b'"status":"a"'] * 10_000),
    "empty_key": b'"":1',
    "key_of_100_kb": b'"' + b"k" * 100_000 + b'":1',
    "dunder_proto": b'"__proto__":{"admin":true},"constructor":{"prototype":1}',
    "columns_of_ours": b'"id":1,"received_at":"x","source":"x","deliveries":99,"idempotency_key":"x"',
    "python_names": b'"__class__":"x","self":1,"unknown_fields":{"unknown_fields":1}',
    "error_of_900_kb": b'"error_message":"' + b"e" * 900_000 + b'"',
    "integer_of_4000_digits": b'"metadata":{"a":' + b"9" * 4000 + b"}",
    "float_underflow": b'"metadata":{"a":1e-400}',
    "float_of_5000_digits": b'"metadata":{"a":0.' + b"1" * 5000 + b"}",
    "negative_zero": b'"metadata":{"a":-0,"b":-0.0}',
    "year_1": b'"timestamp":"0001-01-01T00:00:00Z"',
    "year_9999": b'"timestamp":"9999-12-31T23:59:59Z"',
    "leap_second": b'"timestamp":"2016-12-31T23:59:60Z"',
    "fraction_of_10_000_digits": b'"timestamp":"2026-05-01T12:00:00.' + b"1" * 10_000 + b'Z"',
}
# Whole bodies, and the type of the first error of a 422.
REJECTED = {
    "nothing_but_space": (b" ", "json_invalid"),
    "null": (b"null", "model_attributes_type"),
    "list": (b"[]", "model_attributes_type"),
    "number": (b"1", "model_attributes_type"),
    "string": (b'"a"', "model_attributes_type"),
    "cut": (b'{"a":', "json_invalid"),
    "trailing_garbage": (b"{} x", "json_invalid"),
    "two_values": (b"{}{}", "json_invalid"),
    "single_quotes": (b"{'a':1}", "json_invalid"),
    "comment": (b"{/**/}", "json_invalid"),
    "trailing_comma": (b'{"a":1,}', "json_invalid"),
    "raw_nul": (b'{"a":"\x00"}', "json_invalid"),
    "nul_after_the_end": (b"{}\x00", "json_invalid"),
    "raw_newline_in_a_string": (b'{"a":"\n"}', "json_invalid"),
    "bad_escape": (rb'{"a":"\x"}', "json_invalid"),
    "half_an_escape": (rb'{"a":"\u12"}', "json_invalid"),
    "latin_1": (b'{"a":"\xe9"}', "json_invalid"),
    "overlong_utf_8": (b'{"a":"\xc0\x80"}', "json_invalid"),
    "utf_8_past_unicode": (b'{"a":"\xf4\x90\x80\x80"}', "json_invalid"),
    "utf_16": ('{"a":1}'.encode("utf-16"), "json_invalid"),
    "utf_32": ('{"a":1}'.encode("utf-32"), "json_invalid"),
    "utf_7": (b"+AHsAfQ-", "json_invalid"),
    "nan": (b'{"a":NaN}', "json_invalid"),
    "nan_deep": (b'{"a":[{"b":[NaN]}]}', "json_invalid"),
    "infinity": (b'{"progress":Infinity}', "json_invalid"),
    "minus_infinity": (b'{"progress":-Infinity}', "json_invalid"),
    "number_out_of_range": (b'{"progress":1e999}', "json_invalid"),
    "integer_of_5000_digits": (b'{"progress":' + b"9" * 5000 + b"}", "json_invalid"),
    "negative_integer_of_5000_digits": (b'{"metadata":{"a":-' + b"9" * 5000 + b"}}", "json_invalid"),
    "integer_of_a_million_digits": (b'{"progress":' + b"9" * 1_000_000 + b"}", "json_invalid"),
    "leading_zero": (b'{"progress":01}', "json_invalid"),
    "hexadecimal": (b'{"progress":0x1}', "json_invalid"),
    "101_lists": (nested(b"[", b"]", 101), "json_invalid"),
    "1000_objects": (nested(b'{"a":', b"}", 1000), "json_invalid"),
    "100_000_lists": (nested(b"[", b"]", 100_000), "json_invalid"),
    "100_000_lists_never_closed": (b"[" * 100_000, "json_invalid"),
    "100_000_objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "json_invalid"),
    "a_megabyte_of_brackets": (b"[" * 1_000_000, "json_invalid"),
    "a_megabyte_of_quotes": (b'"' * 1_000_000, "json_invalid"),
    "a_megabyte_of_backslashes": (b'{"a":"' + b"\\" * 1_000_000, "json_invalid"),
    "gzip_without_a_word": (gzip.compress(b"{}"), "json_invalid"),
    "pickle": (b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94.", "json_invalid"),
    "xml": (b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "json_invalid"),
    "form": (b"task_id=1&status=done", "json_invalid"),
    "yaml": (b"!!python/object/apply:os.system ['true']", "json_invalid"),
    "task_id_of_100_kb": (json.dumps(body(task_id="t" * 100_000)).encode(), "string_too_long"),
    "task_id_a_list": (json.dumps(body(task_id=["a"])).encode(), "string_type"),
    "task_id_an_object": (json.dumps(body(task_id={"$ne": None})).encode(), "string_type"),
    "status_a_number": (json.dumps(body(status=1)).encode(), "string_type"),
    "progress_a_bool": (json.dumps(body(progress=True)).encode(), "float_type"),
    "progress_above": (json.dumps(body(progress=100.0001)).encode(), "less_than_equal"),
    "progress_huge": (json.dumps(body(progress=10**300)).encode(), "less_than_equal"),
    "metadata_a_list": (json.dumps(body(metadata=[])).encode(), "dict_type"),
    "timestamp_far_away": (
        json.dumps(body(timestamp="9999-12-31T23:59:59-23:59")).encode(), "datetime_from_date_parsing"
    ),
    "timestamp_in_other_digits": (
        json.dumps(body(timestamp="٢٠٢٦-05-01T12:00:00Z")).encode(), "datetime_from_date_parsing"
    ),
    "timestamp_of_a_megabyte": (
        json.dumps(body(timestamp="2026-05-01T12:00:00." + "1" * 900_000)).encode() + b"x", "json_invalid"
    ),
}  # fmt: skip
BOMB = gzip.compress(b"\0" * 50_000_000)
ENCODED = {
    "gzip_bomb": (b"gzip", BOMB),
    "gzip_bomb_twice": (b"gzip, gzip", gzip.compress(BOMB)),
    "deflate_bomb": (b"deflate", zlib.compress(b"\0" * 50_000_000)),
    "gzip": (b"gzip", gzip.compress(json.dumps(body()).encode())),
    "brotli_that_is_none": (b"br", b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("name", STORED)
def test_odd_event_is_kept(site: Site, name: str) -> None:
    before = site.event_count()

    answer = site.send(Request(event(site, name, STORED[name])))

    expected = {"task_id": f"{name}-{site.front}", "duplicate": False}
    assert (answer.status, {**answer.json(), "id": 0}) == (200, {"id": 0, **expected})
    site.assert_well(events=before + 1)


@pytest.mark.parametrize("name", REJECTED)
def test_bad_body_is_rejected(site: Site, name: str) -> None:
    before = site.event_count()
    rejected, first = REJECTED[name]

    answer = site.send(Request(rejected))

    assert answer.status == 422
    items: list[dict[str, Any]] = answer.json()["detail"]
    assert items[0]["type"] == first
    assert all(
        {"type", "loc", "msg"} <= set(item) <= {"type", "loc", "msg", "input", "ctx"} for item in items
    )
    assert len(answer.body) < 10_000
    site.assert_well(events=before)


@pytest.mark.parametrize("name", ENCODED)
def test_nothing_is_ever_unpacked(site: Site, name: str) -> None:
    before = site.event_count()
    coding, packed = ENCODED[name]

    answer = site.send(Request(packed, headers=b"Content-Encoding: %b\r\n" % coding))

    assert (answer.status, answer.json()["detail"][0]["type"]) == (422, "json_invalid")
    site.assert_well(events=before)


def test_replaced_characters_stand_in_the_answer(site: Site) -> None:
    before = site.event_count()
    task_id = rf"a\u0000\ud800-{site.front}".encode()

    answer = site.send(Request(json.dumps(body(task_id="TASK")).encode().replace(b"TASK", task_id)))

    assert (answer.status, answer.json()["task_id"]) == (200, f"a{REPLACED}{REPLACED}-{site.front}")
    site.assert_well(events=before + 1)
