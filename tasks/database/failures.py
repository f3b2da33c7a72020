"""What the log says of an error of the database."""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """Return the first line of ``error``: those that follow in PostgreSQL's may quote a row."""
    return str(error).strip().partition("\n")[0]
