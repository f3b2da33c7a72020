"""RFC 3339 and nothing else, worded as Pydantic words it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.wire.fields import parse_time

TRAILING = "unexpected extra characters at the end of the input"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T12:00:00Z", utc(2024, 5, 1, 12)),
        ("2024-05-01t12:00:00z", utc(2024, 5, 1, 12)),
        ("2024-05-01T12:00:00", utc(2024, 5, 1, 12)),
        ("2024-05-01T12:00:00+00:00", utc(2024, 5, 1, 12)),
        ("2024-05-01T12:00:00-00:00", utc(2024, 5, 1, 12)),
        ("2024-05-01T12:00:00+02:00", utc(2024, 5, 1, 10)),
        ("2024-05-01T12:00:00-23:59", utc(2024, 5, 2, 11, 59)),
        ("2024-05-01T12:00:00.1Z", utc(2024, 5, 1, 12, 0, 0, 100_000)),
        ("2024-05-01T12:00:00.1234567891234Z", utc(2024, 5, 1, 12, 0, 0, 123_456)),
        ("2024-02-29T00:00:00Z", utc(2024, 2, 29)),
        ("2016-12-31T23:59:60Z", utc(2017, 1, 1)),
        ("2016-12-31T23:59:60.5Z", utc(2017, 1, 1, 0, 0, 0, 500_000)),
        ("2016-12-31T23:59:60", utc(2017, 1, 1)),
        ("1990-12-31T15:59:60-08:00", utc(1991, 1, 1)),
        ("0001-01-01T00:00:00Z", utc(1, 1, 1)),
        ("9999-12-31T23:59:59.999999Z", utc(9999, 12, 31, 23, 59, 59, 999_999)),
    ],
)
def test_accepted(text: str, expected: datetime) -> None:
    parsed = parse_time(text)

    assert parsed == expected
    assert parsed.utcoffset() == timedelta()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "input is too short"),
        (" ", "input is too short"),
        ("garbage", "input is too short"),
        ("2024-1-1", "input is too short"),
        ("äöüß", "input is too short"),
        ("äöüßé", "invalid character in year"),  # ten bytes
        ("2024-05-01", "input is too short"),
        (" 2024-05-01T12:00:00Z", "invalid character in year"),
        ("202x-05-01T12:00:00Z", "invalid character in year"),
        ("٢٠٢٤-05-01T12:00:00Z", "invalid character in year"),
        ("Wed, 01 May 2024 12:00:00 GMT", "invalid character in year"),
        ("2024-5-1T12:00:00Z", "invalid character in month"),
        ("2024-05-0xT12:00:00Z", "invalid character in day"),
        ("20240501T120000Z", "invalid date separator, expected `-`"),
        ("2024-05/01T12:00:00Z", "invalid date separator, expected `-`"),
        ("1714564800", "invalid date separator, expected `-`"),
        ("2024-13-01T00:00:00Z", "month value is outside expected range of 1-12"),
        ("2024-00-01T00:00:00Z", "month value is outside expected range of 1-12"),
        ("2024-01-32T00:00:00Z", "day value is outside expected range"),
        ("2024-01-00T00:00:00Z", "day value is outside expected range"),
        ("2023-02-29T00:00:00Z", "day value is outside expected range"),
        ("0000-01-01T00:00:00Z", "year 0 is out of range"),
        ("0001-01-01T00:00:00+14:00", "the time in UTC is outside the years 1 to 9999"),
        ("9999-12-31T23:59:59-01:00", "the time in UTC is outside the years 1 to 9999"),
        ("9999-12-31T23:59:60Z", "the time in UTC is outside the years 1 to 9999"),
        ("2024-05-01 12:00:00Z", TRAILING),
        ("2024-05-01T", TRAILING),
        ("2024-05-01T12Z", TRAILING),
        ("2024-05-01T12:00Z", TRAILING),
        ("2024-05-01T24:00:00Z", TRAILING),
        ("2024-05-01T12:60:00Z", TRAILING),
        ("2024-05-01T12:00:61Z", TRAILING),
        ("2024-05-01T12:00:60Z", TRAILING),
        ("2016-12-31T23:58:60Z", TRAILING),
        ("2016-12-31T23:59:60+02:00", TRAILING),
        ("2024-05-01T12:00:00.Z", TRAILING),
        ("2024-05-01T12:00:00,5Z", TRAILING),
        ("2024-05-01T12:00:00+0200", TRAILING),
        ("2024-05-01T12:00:00+24:00", TRAILING),
        ("2024-05-01T12:00:00+23:60", TRAILING),
        ("2024-05-01T12:00:00\N{MINUS SIGN}02:00", TRAILING),
        ("2024-05-01T12:00:00Z ", TRAILING),
        ("2024-05-01T12:00:00Z\n", TRAILING),
        ("2024-05-01T12:00:00UTC", TRAILING),
        ("2024-05-01Z", TRAILING),
    ],
)
def test_rejected(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        parse_time(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_python_writes_is_read_back(moment: datetime) -> None:
    assert parse_time(moment.isoformat()) == moment
    assert parse_time(moment.replace(tzinfo=None).isoformat()) == moment
    assert parse_time(moment.isoformat().replace("+00:00", "Z")) == moment


@given(st.text())
def test_any_text_is_read_or_rejected(text: str) -> None:
    with suppress(ValueError):
        assert parse_time(text).tzinfo is UTC
