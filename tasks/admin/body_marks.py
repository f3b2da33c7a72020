"""Where in a rejected body the faults are, shown as marks in its text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ..rejections import field_of

#: Of a longer run of text with no fault in it, so many characters are shown at either end.
SHOWN = 2000

_SPACE = re.compile(r"[ \t\n\r]*")
_UNSHOWABLE = re.compile("[\x00\ud800-\udfff]")
_DECODER = json.JSONDecoder()


def marked(body: bytes, errors: Iterable[Mapping[str, Any]]) -> SafeString:
    """Return the text of ``body`` as HTML, with what the ``errors`` of a 422 are about in ``<mark>``."""
    text = _text_of(body)
    pieces: list[tuple[SafeString]] = []
    at = 0
    for start, end in sorted(_places(body, text, errors)):
        pieces.append((_shortened(text[at:start]),))
        pieces.append((format_html("<mark>{}</mark>", _shortened(text[start:end])),))
        at = end
    pieces.append((_shortened(text[at:]),))
    return format_html("<pre>{}</pre>", format_html_join("", "{}", pieces))


def _text_of(body: bytes) -> str:
    try:
        text = body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = body.decode("utf-8", "replace")
    return _UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", text.removeprefix("\ufeff"))


def _shortened(text: str) -> SafeString:
    if len(text) <= 2 * SHOWN:
        return format_html("{}", text)
    left_out = f"[{len(text) - 2 * SHOWN} characters more]"
    return format_html("{}<em>{}</em>{}", text[:SHOWN], left_out, text[-SHOWN:])


def _places(body: bytes, text: str, errors: Iterable[Mapping[str, Any]]) -> set[tuple[int, int]]:
    places = set()
    spans: Mapping[str, tuple[int, int]] | None = None
    for error in errors:
        if error["type"] == "json_invalid":
            start = _position(body, error)
            places.add((start, start + 1))
        elif error["type"] == "model_attributes_type":
            places.add((0, len(text)))
        elif field_of(error) != "body":
            spans = _values(text) if spans is None else spans
            if field_of(error) in spans:
                places.add(spans[field_of(error)])
    return places


def _position(body: bytes, error: Mapping[str, Any]) -> int:
    position: int = error["loc"][1]
    try:
        body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # then the position counts bytes
        return len(_text_of(body[:position]))
    return position


def _values(text: str) -> dict[str, tuple[int, int]]:
    """Return where the values of the JSON object ``text`` begin and end; of a key given twice, the last."""
    spans = {}
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] == '"':
        key, at = _DECODER.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        spans[key] = (start, end)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return spans


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()
