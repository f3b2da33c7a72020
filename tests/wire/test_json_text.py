"""From bytes to an object that any database can hold."""

from __future__ import annotations

import json
from contextlib import suppress
from io import BytesIO
from typing import Any
from unittest.mock import patch

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import UnsupportedMediaType

from tasks.conf import AppSettings
from tasks.exceptions import BodyIncomplete, BodyTooLarge, ContractViolation, LengthRequired
from tasks.wire.body import check_media_type, discard_body, read_body
from tasks.wire.canonical import canonical_json
from tasks.wire.json_text import _worded_alike, parse_json

SETTINGS = AppSettings()
REPLACED = "\N{REPLACEMENT CHARACTER}"


def rejection(text: bytes, settings: AppSettings = SETTINGS) -> tuple[list[Any], str, str | None]:
    with pytest.raises(ContractViolation) as caught:
        parse_json(text, settings)
    (item,) = caught.value.items
    return item["loc"], item["type"], item.get("ctx", {}).get("error")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "Application/JSON",
        " application/json ",
        "application/json; charset=utf-8",
        "application/json;charset=latin-1",
        "application/cloudevents+json",
        "application/vnd.sartiq.v1+json; x=y",
    ],
)
def test_json_by_its_media_type(content_type: str) -> None:
    check_media_type(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "application/+json",
        "application/ json",
        "json",
        "application/json, text/plain",
        "*/*",
    ],
)
def test_any_other_media_type_is_rejected(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        check_media_type(content_type)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\xef\xbb\xbf{}", {}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (rb'{"a\u0000": "\ud800x"}', {f"a{REPLACED}": f"{REPLACED}x"}),
        (rb'["\ud83d\ude00"]', ["😀"]),
        (b'["\xed\xa0\x80"]', [REPLACED]),
        ('["é"]'.encode(), ["é"]),
        (rb'[{"a": ["\udfff"]}, 1, 1.5, true, null]', [{"a": [REPLACED]}, 1, 1.5, True, None]),
        (b"9" * 4300, int("9" * 4300)),
    ],
)
def test_parsed(text: bytes, expected: Any) -> None:
    assert parse_json(text, SETTINGS) == expected


@pytest.mark.parametrize(
    ("text", "position", "error"),
    [
        (b"\n\n", 2, "Expecting value"),
        (b"{task_id: 1}", 1, "Expecting property name enclosed in double quotes"),
        (b'{"a": 1,}', 8, "Expecting property name enclosed in double quotes"),
        (b'{"a": 1 , \n}', 11, "Expecting property name enclosed in double quotes"),
        (b"[1, ]", 4, "Expecting value"),
        (b'["NaN", NaN]', 8, "NaN is not JSON"),
        (b'{"Infinity\\"": -Infinity}', 15, "-Infinity is not JSON"),
        (b"[1, -2.5, 1e400]", 10, "Number out of range"),
        (b"[1." + b"0" * 9 + b"e999]", 1, "Number out of range"),
        (b"[" + b"9" * 4301 + b"]", 1, "Number out of range"),
        (b'{"a": "\xe9"}', 7, "The body is not UTF-8"),
        (b'["\x00"]', 2, "Invalid control character at"),
    ],
)
def test_not_json(text: bytes, position: int, error: str) -> None:
    assert rejection(text) == (["body", position], "json_invalid", error)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ('{"a": 1,}', "object", ("Expecting property name enclosed in double quotes", 8)),
        ('{"a": 1, \n }', "object", ("Expecting property name enclosed in double quotes", 11)),
        ("[1,]", "array", ("Expecting value", 3)),
    ],
)
def test_what_python_3_13_says_of_a_trailing_comma_is_worded_as_before(
    text: str, kind: str, expected: tuple[str, int]
) -> None:
    error = json.JSONDecodeError(f"Illegal trailing comma before end of {kind}", text, text.rindex(","))

    assert _worded_alike(error) == expected


def test_an_empty_body_is_missing() -> None:
    assert rejection(b"") == (["body"], "missing", None)


def nested(levels: int, fill: str = "1") -> bytes:
    return ('{"a":' + "[" * levels + fill + "]" * levels + "}").encode()


def test_nesting_up_to_the_limit() -> None:
    assert parse_json(nested(100), SETTINGS)
    assert parse_json(json.dumps({"a": "[" * 500 + '"{' * 500}).encode(), SETTINGS)
    assert parse_json(json.dumps([[]] * 500).encode(), SETTINGS)


@pytest.mark.parametrize("levels", [101, 1000, 100_000])
def test_nesting_over_the_limit(levels: int) -> None:
    message = "Nested more than 100 levels deep"
    assert rejection(nested(levels)) == (["body", 105], "json_invalid", message)
    assert rejection(nested(levels)[: levels // 2 + 200]) == (["body", 105], "json_invalid", message)


def test_the_limit_is_a_setting() -> None:
    assert parse_json(nested(3), AppSettings(max_nesting=3))
    assert rejection(nested(4), AppSettings(max_nesting=3))[2] == "Nested more than 3 levels deep"


def test_strings_that_do_not_end_take_no_longer_than_others() -> None:
    # A search that began again at every quote would be quadratic, and this would not come back.
    hostile = b'{"a":' + b"[" * 200 + b'"' + b'\\"' * 500_000

    assert rejection(hostile)[2] == "Nested more than 100 levels deep"
    assert rejection(b'["' + b'\\"' * 500_000 + b"[" * 200)[2] == "Unterminated string starting at"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_storable_json_is_read_as_it_was_written(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    if "\\u0000" not in text:
        assert parse_json(text.encode(), SETTINGS) == value


@given(st.binary())
def test_any_bytes_are_read_or_rejected(body: bytes) -> None:
    with suppress(ContractViolation):
        canonical_json(parse_json(body, SETTINGS)).encode()


def test_what_was_read_of_a_body_over_the_limit_is_told() -> None:
    request = RequestFactory().post("/", b"x" * 20, content_type="application/json")
    request.META["CONTENT_LENGTH"] = ""  # not declared

    with pytest.raises(BodyTooLarge) as raised:
        read_body(request, 10)

    assert raised.value.start == b"x" * 11


def wsgi(body: bytes, **meta: Any) -> WSGIRequest:
    """Return a request with ``body`` and ``meta``, where None takes a key away."""
    request = RequestFactory().post("/", body, content_type="application/json")
    request.META.update(meta)
    stream = BytesIO(body)
    return WSGIRequest(
        {key: value for key, value in request.META.items() if value is not None} | {"wsgi.input": stream}
    )


CHUNKED = {"CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}


@pytest.mark.parametrize(
    "request_",
    [wsgi(b"12345"), wsgi(b"12345", **CHUNKED), wsgi(b"12345678", CONTENT_LENGTH="5")],
    ids=["length", "chunked", "longer_than_its_length"],
)
def test_body_is_read_in_its_frame(request_: WSGIRequest) -> None:
    assert read_body(request_, 5) == b"12345"


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (wsgi(b"123456"), BodyTooLarge),
        (wsgi(b"123456", **CHUNKED), BodyTooLarge),
        (wsgi(b"", CONTENT_LENGTH="9" * 5000), BodyTooLarge),
        (wsgi(b"12", CONTENT_LENGTH="5"), BodyIncomplete),
        (wsgi(b"12", **(CHUNKED | {"wsgi.input_terminated": None})), LengthRequired),
        (wsgi(b"12", **(CHUNKED | {"HTTP_TRANSFER_ENCODING": "gzip, chunked"})), LengthRequired),
    ],
    ids=["too_large", "too_large_chunked", "5000_digits", "too_short", "never_ending", "another_coding"],
)
def test_body_out_of_frame(request_: WSGIRequest, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_body(request_, 5)


def test_connection_that_breaks_is_a_body_cut_short() -> None:
    request = wsgi(b"12")
    with patch.object(request, "_stream") as stream:
        stream.read.side_effect = ConnectionResetError
        with pytest.raises(BodyIncomplete):
            read_body(request, 5)


def test_body_without_wsgi_is_read_from_the_request() -> None:
    request = ASGIRequest(
        {"type": "http", "method": "POST", "path": "/", "headers": [(b"transfer-encoding", b"chunked")]},
        BytesIO(b"123"),
    )

    assert read_body(request, 5) == b"123"


@pytest.mark.parametrize(("expect", "left"), [({}, b""), ({"HTTP_EXPECT": "100-continue"}, b"12345")])
def test_discarded_body_is_read_unless_it_waits(expect: dict[str, str], left: bytes) -> None:
    request = wsgi(b"12345", **expect)

    discard_body(request, 5)

    assert request.META["wsgi.input"].read() == left


def test_discarding_never_fails() -> None:
    discard_body(wsgi(b"12", CONTENT_LENGTH="5"), 5)
