"""How far a long command is, on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

try:
    from tqdm import tqdm
except ModuleNotFoundError:  # it comes with the extra "simulator"
    tqdm = None  # type: ignore[assignment, misc]


@contextmanager
def progress(stream: Any, *, total: int, unit: str) -> Iterator[Callable[[int], object]]:
    """Show a bar if tqdm is installed; yield what to call with each number of units done."""
    if tqdm is None:
        yield lambda number: None
        return
    with tqdm(total=total, unit=unit, disable=None, file=stream) as bar:
        yield bar.update
