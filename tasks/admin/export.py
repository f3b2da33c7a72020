"""The rows of a list as a file, streamed: CSV for spreadsheets, JSON Lines for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from ..querysets import in_batches

#: A cell that begins with one of these may be run as a formula (OWASP, "CSV Injection").
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 (full width)

_Writer = Callable[[Sequence[str], Iterable[Mapping[str, Any]]], Iterator[str]]


def export(rows: QuerySet[Any], columns: Sequence[str], format_: str) -> StreamingHttpResponse:
    """Return the file of ``rows``, the greatest primary key first. ``format_`` is one of ``FORMATS``."""
    content_type, write = FORMATS[format_]
    values = ({column: getattr(row, column) for column in columns} for row in in_batches(rows))
    name = f"{rows.model._meta.model_name}-{timezone.now():%Y%m%dT%H%M%SZ}.{format_}"
    return StreamingHttpResponse(
        write(columns, values),
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(columns)
    for row in rows:
        yield writer.writerow([cell(value) for value in row.values()])


def cell(value: Any) -> Any:
    """Return ``value`` for a cell: a text that a spreadsheet would run gets an apostrophe before it."""
    value = _plain(value)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_STARTS) else value
    return "" if value is None else value


def _json_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        values = {
            name: value if isinstance(value, (dict, list)) else _plain(value) for name, value in row.items()
        }
        yield json.dumps(values, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value


#: Ending of the file: content type and writer.
FORMATS: Mapping[str, tuple[str, _Writer]] = {
    "csv": ("text/csv; charset=utf-8", _csv),
    "jsonl": ("application/jsonl; charset=utf-8", _json_lines),
}
