"""The types of the wire as serializer fields: strict, with errors worded as Pydantic words them.

Sources: the published schema (OpenAPI 3.1), RFC 3339 for date-times, and for the wording the answers of
the endpoint that this one replaces.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from rest_framework import serializers

from ..exceptions import ContractViolation, error_item

#: A schema as OpenAPI writes it.
Schema = dict[str, Any]


class WireField(serializers.Field[Any, Any, Any, Any]):
    """A field of the wire contract, with its schema. Its errors are items of a 422.

    ``component`` and ``title`` name the schema as the published document names it.
    """

    schema: Schema
    #: Whether ``MAX_STRING_LENGTH`` applies; the serializer enforces it, because it reads the setting once.
    limited = False

    def __init__(self, *, component: str = "", title: str = "", **kwargs: Any) -> None:
        self.component = component
        self.title = title
        super().__init__(**kwargs)

    def reject(self, type_: str, msg: str, value: Any, *, ctx: dict[str, Any] | None = None) -> NoReturn:
        """Raise ``ContractViolation`` with one item."""
        raise ContractViolation([error_item(type_, msg, [str(self.field_name)], value=value, ctx=ctx)])

    def to_representation(self, value: Any) -> Any:
        """Return the value as it is: the wire's types are JSON's own."""
        return value


class TextField(WireField):
    """A JSON string; no other type is converted to one."""

    schema: Schema = {"type": "string"}

    def __init__(self, *, limited: bool = True, **kwargs: Any) -> None:
        self.limited = limited
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        """Return the string unchanged."""
        if not isinstance(data, str):
            self.reject("string_type", "Input should be a valid string", data)
        return data


class ObjectField(WireField):
    """A JSON object with any content."""

    schema: Schema = {"additionalProperties": True, "type": "object"}

    def to_internal_value(self, data: Any) -> Mapping[str, Any]:
        """Return the object unchanged."""
        if not isinstance(data, dict):
            self.reject("dict_type", "Input should be a valid dictionary", data)
        return data


class ProgressField(WireField):
    """A percentage, 0 to 100.

    The schema is a union of number and integer, so a bad value breaks both and gives two items.
    """

    schema: Schema = {
        "anyOf": [
            {"type": "number", "maximum": 100.0, "minimum": 0.0},
            {"type": "integer", "maximum": 100.0, "minimum": 0.0},
        ]
    }

    def to_internal_value(self, data: Any) -> float:
        """Return the percentage as a float."""
        is_number = isinstance(data, (int, float)) and not isinstance(data, bool)
        if is_number and 0 <= data <= 100:
            return float(data)
        number = self._item("float", data) if is_number else self._type_item("float", "number", data)
        is_integer = is_number and isinstance(data, int)
        integer = self._item("int", data) if is_integer else self._type_item("int", "integer", data)
        raise ContractViolation([number, integer])

    def _type_item(self, branch: str, noun: str, data: Any) -> dict[str, Any]:
        loc = ["progress", f"constrained-{branch}"]
        return error_item(f"{branch}_type", f"Input should be a valid {noun}", loc, value=data)

    def _item(self, branch: str, data: float) -> dict[str, Any]:
        number = {"float": float, "int": int}[branch]
        loc = ["progress", f"constrained-{branch}"]
        if data > 100:
            msg, ctx = "less than or equal to 100", {"le": number(100)}
            return error_item("less_than_equal", f"Input should be {msg}", loc, value=data, ctx=ctx)
        msg, ctx = "greater than or equal to 0", {"ge": number(0)}
        return error_item("greater_than_equal", f"Input should be {msg}", loc, value=data, ctx=ctx)


class TimeField(WireField):
    """An RFC 3339 date-time, returned in UTC; without an offset it is taken as UTC."""

    schema: Schema = {"type": "string", "format": "date-time"}

    def to_internal_value(self, data: Any) -> datetime:
        """Return the time in UTC, to the microsecond (further digits are cut off)."""
        if not isinstance(data, str):
            self.reject("datetime_type", "Input should be a valid datetime", data)
        try:
            return parse_time(data)
        except ValueError as error:
            reason = str(error)
            self.reject(
                "datetime_from_date_parsing",
                f"Input should be a valid datetime or date, {reason}",
                data,
                ctx={"error": reason},
            )


_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_DATE_TIME = re.compile(
    _DATE.pattern + r"[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?P<second>[0-5]\d|60)(?:\.\d+)?"
    r"(?P<offset>[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?",
    re.ASCII,
)
_TRAILING = "unexpected extra characters at the end of the input"


def parse_time(text: str) -> datetime:
    """Return the RFC 3339 date-time ``text`` in UTC, or raise ``ValueError`` with Pydantic's reason.

    A leap second (23:59:60 UTC) is the next second. What does not fit Python's years is rejected.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError(_fault(text))
    is_leap = match["second"] == "60"
    plain = f"{text[: match.start('second')]}59{text[match.end('second') :]}" if is_leap else text
    try:
        value = datetime.fromisoformat(plain.upper())
    except ValueError:
        raise ValueError(_fault(text)) from None
    try:
        value = value.astimezone(UTC) if match["offset"] else value.replace(tzinfo=UTC)
        if is_leap:
            value += timedelta(seconds=1)
    except OverflowError:
        raise ValueError("the time in UTC is outside the years 1 to 9999") from None
    if is_leap and (value.hour, value.minute, value.second) != (0, 0, 0):
        raise ValueError(_TRAILING)
    return value


def _fault(text: str) -> str:
    """Return what Pydantic would say is wrong with ``text``, which is not a date-time."""
    if len(text.encode()) < 10:
        return "input is too short"
    date = _DATE.match(text)
    if date is None:
        return _date_fault(text)
    year, month, day = (int(group) for group in date.groups())
    if not 1 <= month <= 12:
        return "month value is outside expected range of 1-12"
    if year == 0:
        return "year 0 is out of range"
    if not 1 <= day <= monthrange(year, month)[1]:
        return "day value is outside expected range"
    return "input is too short" if date.end() == len(text) else _TRAILING


def _date_fault(text: str) -> str:
    """Return what Pydantic would say is wrong with the first ten characters of ``text``."""
    wanted = ("0123456789",) * 4 + ("-",) + ("0123456789",) * 2 + ("-",) + ("0123456789",) * 2
    place = next(place for place, part in enumerate(text) if part not in wanted[place])
    if wanted[place] == "-":
        return "invalid date separator, expected `-`"
    return f"invalid character in {'year' if place < 4 else 'month' if place < 7 else 'day'}"
