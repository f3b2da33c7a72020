"""What a cluster posts about a task, and the orders in which its deliveries may arrive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

from ..lifecycle import Meaning
from ..simulation import stories
from ..simulation.faults import Fault, deliveries
from ..simulation.stories import Event

_BEGINS = datetime(2026, 5, 1, 12, tzinfo=UTC)
_FAULTS = (Fault.SHUFFLE, Fault.DUPLICATE, Fault.LATE)


def story(
    kind: str = "training", /, *, ends: Meaning | str = Meaning.SUCCEEDED, seed: int = 0, **changes: Any
) -> list[Event]:
    """Return the bodies that a cluster posts for one task, in order, each with ``changes``.

    ``kind`` is ``training``, ``generation`` or ``upscaling``; ``ends`` is ``succeeded``, ``failed`` or
    ``cancelled``. The same arguments tell the same story.
    """
    told = stories.story(Random(seed), _BEGINS, kind=stories.kind_of(kind), ends=Meaning(ends))  # noqa: S311
    return [{**event, **changes} for _, event in told]


def orders(events: Sequence[Event], *, n: int = 20, seed: int = 0) -> list[list[Event]]:
    """Return ``n`` orders in which ``events`` may arrive: as given, then shuffled, repeated and delayed."""
    random = Random(seed)  # noqa: S311
    found = [list(events)]
    while len(found) < n:
        shares = {fault: random.uniform(0, 1 / len(_FAULTS)) for fault in _FAULTS}
        found.append([json.loads(one.body) for one in deliveries(random, events, shares)])
    return found
