"""Plot the progress and the numbers in the metadata over time: pure functions of a task's entries."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Any

from django.utils.translation import gettext as _

from .display import percent
from .timeline import Entry

#: A plot's size, in the units of its own coordinates.
WIDTH, HEIGHT = 640, 120
#: At most this many numbers are drawn: those that most events have.
MAX_NUMBERS = 6
#: No number beyond this is drawn: an integer may be too great for a float.
_MAX = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Plot:
    """A value over time as coordinates of an SVG."""

    name: str
    line: str
    #: The ends of its axis.
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class Row:
    """A drawn event: its place on the axis of time, and the value of each plot, or "" if it has none."""

    x: str
    at: datetime
    values: Sequence[str]


@dataclass(frozen=True, slots=True)
class Plots:
    """The plots of a task, over one axis of time."""

    start: datetime
    end: datetime
    plots: Sequence[Plot]
    rows: Sequence[Row]
    #: Where the status changes: x and y in the plot of the progress, and the entry.
    changes: Sequence[tuple[str, str, Entry]]


def plots(entries: Sequence[Entry], metadata: Mapping[int, Any]) -> Plots | None:
    """Return the plots of the entries, or None if fewer than two times are known.

    A time at an end of the calendar, such as Go's zero time, has no place in them: it would press all
    others into one point.
    """
    entries = [entry for entry in entries if MINYEAR < entry.at.year < MAXYEAR]
    times = [entry.at for entry in entries]
    if not times or min(times) == max(times):
        return None
    start, end = min(times), max(times)
    places = [(at - start) / (end - start) * WIDTH for at in times]
    numbers = [dict(_numbers(metadata.get(entry.event.pk))) for entry in entries]
    names = _drawn_names(numbers)
    progress = [entry.event.progress for entry in entries]
    drawn = [_plot(_("Progress"), places, progress, (0, 100), percent)]
    for name in names:
        values = [one.get(name) for one in numbers]
        known = [value for value in values if value is not None]
        drawn.append(_plot(name, places, values, (min(known), max(known)), _rounded))
    rows = [
        Row(
            f"{x:.1f}",
            entry.at,
            [percent(entry.event.progress), *(_told(found[name]) if name in found else "" for name in names)],
        )
        for x, entry, found in zip(places, entries, numbers, strict=True)
    ]
    changes = [
        (f"{x:.1f}", _y(entry.event.progress, 0, 100), entry)
        for x, entry in zip(places, entries, strict=True)
        if entry.changes_status
    ]
    return Plots(start, end, drawn, rows, changes)


def _plot(
    name: str, places: Sequence[float], values: Sequence[float | None], ends: tuple[float, float], tell: Any
) -> Plot:
    points = (
        f"{x:.1f},{_y(value, *ends)}" for x, value in zip(places, values, strict=True) if value is not None
    )
    return Plot(name, " ".join(points), *map(tell, ends))


def _y(value: float, low: float, high: float) -> str:
    # In parts of the greater end, because the difference of the two greatest floats is infinite.
    most = max(abs(low), abs(high))
    share = (value / most - low / most) / (high / most - low / most)
    return f"{HEIGHT - share * HEIGHT:.1f}"


def _drawn_names(numbers: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the names of the numbers worth a plot: of those that change, the most frequent."""
    counts = Counter(name for found in numbers for name in found)
    changing = [name for name in counts if len({one[name] for one in numbers if name in one}) > 1]
    return sorted(changing, key=lambda name: (-counts[name], name))[:MAX_NUMBERS]


def _numbers(metadata: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers in the metadata by their key, and those one level deeper as ``key.key``."""
    for key, value in metadata.items() if isinstance(metadata, dict) else ():
        if isinstance(value, dict) and not prefix:
            yield from _numbers(value, f"{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MAX:
            yield f"{prefix}{key}", float(value)


def _rounded(value: float) -> str:
    return f"{value:.4g}"


def _told(value: float) -> str:
    return f"{value:.6g}"
