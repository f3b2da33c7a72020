"""Mark the faults in the text of a rejected body."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..rejections import field_of
from ..wire.json_text import members

#: Characters that are shown at either end of a longer run of text with no fault in it.
SHOWN = 2000
#: A longer body on one line is not broken into lines.
MAX_BROKEN = 200_000

_UNSHOWABLE = re.compile("[\x00\ud800-\udfff]")
#: A string, whole or cut off, or a character that gives JSON its structure.
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[][{},]', re.DOTALL)


def marked(body: bytes, errors: Iterable[Mapping[str, Any]]) -> SafeString:
    """Return the text of ``body`` as HTML, with the places of the ``errors`` of a 422 in ``<mark>``."""
    text = _text_of(body)
    breaks = {} if "\n" in text.strip() or len(text) > MAX_BROKEN else _breaks(text)
    is_broken = bool(breaks)

    def shown(start: int, end: int) -> SafeString:
        if not breaks:
            return _shortened(text[start:end])
        return _shortened(
            "".join(breaks.pop(place, "") + text[place] for place in range(start, min(end, len(text))))
        )

    pieces: list[tuple[SafeString]] = []
    at = 0
    for start, end in sorted(_places(body, text, errors)):
        # A line that begins with a fault begins before its mark.
        pieces += [(shown(at, start),), (format_html("{}", breaks.pop(start, "")),)]
        pieces.append((format_html("<mark>{}</mark>", shown(start, end) or _("[the body ends here]")),))
        at = end
    pieces.append((shown(at, len(text)),))
    note = _("The sender sent one line. The line breaks were added here.") if is_broken else ""
    shown_note = format_html('<p class="help">{}</p>', note) if note else ""
    return format_html(
        '<pre class="st-text" tabindex="0">{}</pre>{}', format_html_join("", "{}", pieces), shown_note
    )


def _breaks(text: str) -> dict[int, str]:
    """Return where lines begin in the text of JSON on one line, and with which indentation."""
    breaks: dict[int, str] = {}
    depth = 0
    for token in _TOKENS.finditer(text):
        if token[0] in "]}":
            depth = max(depth - 1, 0)
            breaks[token.start()] = f"\n{'  ' * depth}"
        elif token[0] in "[{,":
            depth += token[0] != ","
            end = token.end() + (text[token.end() : token.end() + 1] == " ")
            breaks[end] = f"\n{'  ' * min(depth, 40)}"
    return breaks


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
            if spans is None:  # of a key given twice the last one counts
                spans = {key: (start, end) for key, _value, start, end in members(text)}
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
