"""Marks at the faults of a body, in which the sender's text stays text."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest

from tasks.admin.body_marks import SHOWN, marked
from tasks.conf import AppSettings
from tasks.exceptions import ContractViolation
from tasks.serializers import task_status_event
from tasks.wire.json_text import parse_json
from tests.factories import body


def errors_of(sent: bytes) -> list[dict[str, Any]]:
    with pytest.raises(ContractViolation) as raised:
        task_status_event.run_validation(parse_json(sent, AppSettings()))
    return raised.value.items


def marks(sent: bytes) -> list[str]:
    """Return what is marked, without the line breaks that are added to a body on one line."""
    found = re.findall("<mark>(.*?)</mark>", marked(sent, errors_of(sent)), re.DOTALL)
    return [re.sub("\n *", "", unescape(one)) if b"\n" not in sent else unescape(one) for one in found]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b'{"progress": 101}', ["101"]),
        (
            b'{"x": "}\\"progress", "progress" :\n [1, {"a": "]"}] , "status":5 , "y": 1}',
            ['[1, {"a": "]"}]', "5"],
        ),
        (b'{"progress": 101, "progress": 102}', ["102"]),
        (b'{"progre\\u0073s": -1}', ["-1"]),
        (b'\xef\xbb\xbf{"status": 5}', ["5"]),
        ('{"é": "\N{GRINNING FACE}", "status": 5}'.encode(), ["5"]),
        (b"{}", []),
        (b"", []),
        (b" [1] ", [" [1] "]),
        (b'{"a": nope}', ["n"]),
        (b'{"a": NaN}', ["N"]),
        (b'{"a": 5', ["[the body ends here]"]),
        (b'{"a": 5,\n"b"', ["[the body ends here]"]),
        ('{"é": "'.encode() + b'a\xffb"}', ["\N{REPLACEMENT CHARACTER}"]),
        (b'{"status": "\xed\xa0\x80", "progress": 101}', ["101"]),
    ],
)
def test_the_failing_places(sent: bytes, expected: list[str]) -> None:
    assert marks(sent) == expected


def test_a_line_that_begins_with_a_fault_begins_before_the_mark() -> None:
    sent = b'{"a": 5, "b'

    assert "5, \n  <mark>&quot;</mark>b" in marked(sent, errors_of(sent))


def test_markup_is_text() -> None:
    sent = json.dumps(body(status={"<script>": "</pre>"}, task_id="<b>&amp;")).encode()
    shown = marked(sent, errors_of(sent))

    assert "<script>" not in shown
    assert shown.count("</pre>") == 1
    text = unescape(re.sub("</?mark>|<pre [^>]*>|</pre><p.*", "", shown))
    assert json.loads(text) == json.loads(sent)
    assert re.sub("\n *", "", text) == sent.decode()


def test_a_long_body_is_shortened_around_its_faults() -> None:
    sent = json.dumps({"a": "x" * 100_000, "progress": 101, "z": "y" * 100_000}).encode()
    shown = marked(sent, errors_of(sent))

    assert len(shown) < 5 * SHOWN
    assert "<mark>101</mark>" in shown
    assert shown.count("characters more]</em>") == 2


def test_characters_that_cannot_be_shown_are_replaced() -> None:
    assert "a\N{REPLACEMENT CHARACTER}b" in marked(b"a\x00b", [])


def test_a_body_on_one_line_is_broken_into_lines() -> None:
    shown = unescape(marked(b'{"a": {"b": [1, 2]}, "c": "x, {y}"}', []))

    assert '{\n  "a": {\n    "b": [\n      1, \n      2\n    ]\n  }, \n  "c": "x, {y}"\n}' in shown
    assert "line breaks were added" in shown


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b'{\n"a": 1}', r'\{\n"a": 1\}'),
        (b"plain", "plain"),
        (b'"' + b"\\" * 50_000, r'"\\{1999}<em>\[46001 characters more\]</em>\\{2000}'),
        (b"[" * 100_000, r"(\[\n *)+<em>\[\d+ characters more\]</em>[\[\n ]{2000}"),
    ],
)
def test_any_other_body_is_shown(sent: bytes, expected: str) -> None:
    (told,) = re.findall("<pre [^>]*>(.*?)</pre>", marked(sent, []), re.DOTALL)

    assert re.fullmatch(expected, unescape(told))
