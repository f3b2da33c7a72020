"""Parse the bytes of a delivery into a Python object that any database can store.

The parser is the standard library's, because its error positions are part of the wire contract.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from ..conf import AppSettings
from ..exceptions import ContractViolation, error_item

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ESCAPE = re.compile(r"\\.", re.DOTALL)
# The tokens that matter. Strings are matched too, so that their contents are skipped.
_TOKEN = re.compile(r'"[^"]*"?|(?P<open>[\[{])|(?P<close>[\]}])|(?P<number>-?Infinity|NaN|-?\d[\d.eE+-]*)')


def parse_json(body: bytes, settings: AppSettings) -> Any:
    """Return what the JSON text ``body`` holds, or raise ``ContractViolation``.

    Characters that PostgreSQL cannot store (U+0000, lone surrogates) become U+FFFD, in keys and
    values at any depth. Of a key given twice the last one counts.
    """
    if not body:
        raise ContractViolation([error_item("missing", "Field required")])
    try:
        # As json.loads() does: an event must not be lost because of a lone surrogate.
        text = body.decode("utf-8", "surrogatepass").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        _reject("The body is not UTF-8", error.start)
    if text.count("{") + text.count("[") > settings.max_nesting + 1:
        _check_nesting(text, settings.max_nesting)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        _reject(*_worded_alike(error))
    except ValueError:
        _reject_number(text)
    if "\\u" in text or not text.isascii():
        value = _storable(value)
    return value


def _reject(message: str, position: int) -> NoReturn:
    item = error_item("json_invalid", "JSON decode error", [position], value={}, ctx={"error": message})
    raise ContractViolation([item])


def _worded_alike(error: json.JSONDecodeError) -> tuple[str, int]:
    """Return the error's message and position as Python 3.11 and 3.12 give them: 3.13 changed one."""
    if not error.msg.startswith("Illegal trailing comma"):
        return error.msg, error.pos
    after_comma = error.pos + 1
    position = after_comma + len(error.doc[after_comma:]) - len(error.doc[after_comma:].lstrip(" \t\n\r"))
    if error.msg.endswith("object"):
        return "Expecting property name enclosed in double quotes", position
    return "Expecting value", position


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(number)
    return value


def _not_json(constant: str) -> NoReturn:
    raise ValueError(constant)


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_not_json)


def _tokens(text: str) -> Iterator[re.Match[str]]:
    # Without escapes a string ends at the next quote, which keeps the search linear in hostile text.
    return _TOKEN.finditer(_ESCAPE.sub("__", text))


def _check_nesting(text: str, limit: int) -> None:
    depth = -1  # the body's own object does not count
    for token in _tokens(text):
        if token["open"]:
            depth += 1
            if depth > limit:
                _reject(f"Nested more than {limit} levels deep", token.start())
        elif token["close"]:
            depth -= 1


def _reject_number(text: str) -> NoReturn:
    """Reject the first number that Python cannot hold, or that is not JSON at all (NaN, Infinity)."""
    faults = (
        (fault, token.start())
        for token in _tokens(text)
        if token["number"] and (fault := _number_fault(token["number"]))
    )
    _reject(*next(faults, ("Number out of range", 0)))


def _number_fault(number: str) -> str | None:
    if number.endswith(("NaN", "Infinity")):
        return f"{number} is not JSON"
    try:
        _finite(number) if re.search("[.eE]", number) else int(number)
    except ValueError:
        return "Number out of range"
    return None


def members(text: str) -> Iterator[tuple[str, Any, int, int]]:
    """Yield each key of the JSON object ``text``, its value, and where the value begins and ends.

    It stops where the text ends or is not JSON.
    """
    at, before = _skip(text, 0), "{"
    while text.startswith(before, at):
        try:
            key, end = _READER.raw_decode(text, _skip(text, at + 1))
            colon = _skip(text, end)
            start = _skip(text, colon + 1)
            value, end = _READER.raw_decode(text, start)
        except (ValueError, RecursionError):
            return
        if not isinstance(key, str) or text[colon] != ":":
            return
        yield key, value, start, end
        at, before = _skip(text, end), ","


_READER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _storable(value: Any) -> Any:
    """Return ``value`` with the characters replaced that PostgreSQL cannot store."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value
