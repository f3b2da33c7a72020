"""Tables that commands print."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def aligned(rows: Sequence[Sequence[str]], justify: Callable[[str, int], str] = str.ljust) -> str:
    """Return ``rows`` as lines whose cells line up: the first to the left, the others by ``justify``."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths, justify) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int], justify: Callable[[str, int], str]) -> str:
    others = (justify(cell, width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([row[0].ljust(widths[0]), *others]).rstrip()
