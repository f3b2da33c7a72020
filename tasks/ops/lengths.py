"""How long tasks waited and ran, counted by powers of one number: so the counts of several hours add up."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

#: Lengths are rounded to a power of this, and so are within five per cent.
_BASE = 1.1
_LOG_OF_BASE = math.log(_BASE)
_NONE = timedelta()


def lengths_by_hour(ended: Iterable[tuple[Any, ...]]) -> dict[datetime, list[Any]]:
    """Return the lengths in each hour, as JSON holds them: ``[task_type, "ran", [[power, tasks], ...]]``.

    A row of ``ended`` is a task's hour, task type and meaning, how long it waited, and how long it ran.
    """
    counters: dict[datetime, dict[tuple[str, str], Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for hour, task_type, _meaning, *lengths in ended:
        for name, length in zip(("waited", "ran"), lengths, strict=True):
            # In the wrong order they are no length, as for ``Task.waited``.
            if length is not None and length >= _NONE:
                counters[hour][task_type, name][_power(length)] += 1
    return {
        hour: [[*key, list(powers.items())] for key, powers in of_hour.items()]
        for hour, of_hour in counters.items()
    }


def _power(length: timedelta) -> int:
    return round(math.log(max(length.total_seconds(), 0.1)) / _LOG_OF_BASE)


def merged_lengths(hours: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Counter[int]]:
    """Return the lengths of several hours together, by task type and what was measured."""
    merged: dict[tuple[str, str], Counter[int]] = {}
    for counts in hours:
        for task_type, name, powers in counts["lengths"]:
            merged.setdefault((task_type, name), Counter()).update(dict(powers))
    return merged


def length_at(powers: Mapping[int, int], share: float) -> timedelta:
    """Return the length that ``share`` of the tasks did not exceed."""
    ordered = sorted(powers)
    seen = accumulate(powers[power] for power in ordered)
    wanted = share * sum(powers.values())
    reached = (power for power, so_far in zip(ordered, seen, strict=True) if so_far >= wanted)
    return timedelta(seconds=_BASE ** next(reached))
