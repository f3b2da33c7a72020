"""Arguments that several commands take."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def age(text: str) -> timedelta:
    """Return the length of time that ``text`` says: a number from 1 of hours (h), days (d) or weeks (w)."""
    match = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) * _UNITS[match[2]]
