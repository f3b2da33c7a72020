"""Conditions on text columns, and the parts of an error message that its headline needs."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.db.models.functions import Left, Right

from ..conf import COLUMN_LENGTH

#: The characters of an error message that hold its first line, and those that hold a traceback's last.
ERROR_START = 200
ERROR_END = 2000


def ends_of_error(column: str) -> dict[str, Any]:
    """Return what to annotate rows with for the headline of the error in ``column``."""
    return {"error_start": Left(column, ERROR_START), "error_end": Right(column, ERROR_END)}


def may_be_stored(text: str) -> bool:
    """Return whether a column may hold ``text``: to ask PostgreSQL for U+0000 is an error, and Citus for more
    than a ``task_id`` is long.
    """
    return "\0" not in text and len(text) <= COLUMN_LENGTH


def begins_with(field: str, prefix: str) -> Q:
    """Return the condition that ``field`` begins with ``prefix``, as a range that an index serves.

    Both databases compare the ids of tasks by code points (collation "C", BINARY), while a LIKE
    would miss the index on SQLite, and on PostgreSQL with the term as a bound parameter.
    """
    condition = Q(**{f"{field}__gte": prefix})
    end = _after_all_with(prefix)
    return condition & Q(**{f"{field}__lt": end}) if end else condition


def _after_all_with(prefix: str) -> str:
    """Return the least text greater than all that begin with ``prefix``, or "" if there is none."""
    prefix = prefix.rstrip("\U0010ffff")
    if not prefix:
        return ""
    following = ord(prefix[-1]) + 1
    # Surrogates are not characters.
    return prefix[:-1] + chr(0xE000 if following == 0xD800 else following)
