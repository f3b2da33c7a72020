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

from ..querysets.scans import in_batches

#: A cell that begins with one of these may be run as a formula (OWASP, "CSV Injection").
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 (full width)

#: Up to this many rows are in the order of the list.
MAX_ORDERED = 100_000
#: Rows that are read at once.
BATCH = 500
#: What a spreadsheet holds in a cell, in UTF-16 code units, and what stands for the rest.
MAX_CELL, CUT = 32_767, "…"

_Writer = Callable[[Sequence[str], Iterable[Mapping[str, Any]]], Iterator[str]]


def export(
    rows: QuerySet[Any], columns: Sequence[str], format_: str, tell: Callable[[Any, str], Any] = getattr
) -> StreamingHttpResponse:
    """Return the file of ``rows`` in their order; of more than ``MAX_ORDERED``, the greatest key first.

    ``format_`` is one of ``FORMATS``; ``tell`` returns a row's value of a column.
    """
    content_type, write = FORMATS[format_]
    values = ({column: tell(row, column) for column in columns} for row in _in_order(rows))
    name = f"{rows.model._meta.model_name}-{timezone.now():%Y%m%dT%H%M%SZ}.{format_}"
    return StreamingHttpResponse(
        write(columns, values),
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _in_order(rows: QuerySet[Any]) -> Iterator[Any]:
    """Yield the rows, each once, though they may move in the list meanwhile: their keys are read first."""
    keys = list(rows.values_list("pk", flat=True)[: MAX_ORDERED + 1])
    if len(keys) > MAX_ORDERED:
        yield from in_batches(rows)
        return
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        found = rows.model._base_manager.using(rows.db).in_bulk(batch)
        yield from (found[key] for key in batch if key in found)


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    # The mark by which Excel knows UTF-8.
    yield "\N{ZERO WIDTH NO-BREAK SPACE}" + writer.writerow(columns)
    for row in rows:
        yield writer.writerow([cell(value) for value in row.values()])


def cell(value: Any) -> Any:
    """Return ``value`` for a cell: a text that a spreadsheet would run gets an apostrophe before it, and one
    that is too long for it is cut.
    """
    value = _plain(value)
    if isinstance(value, str):
        return _fitting(f"'{value}" if value.startswith(FORMULA_STARTS) else value)
    return "" if value is None else value


def _fitting(text: str) -> str:
    # No character takes more than two units.
    if len(text) <= MAX_CELL // 2:
        return text
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * MAX_CELL:
        return text
    return units[: 2 * (MAX_CELL - 1)].decode("utf-16-le", "ignore") + CUT


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
