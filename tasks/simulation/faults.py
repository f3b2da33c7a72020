"""What goes wrong between a cluster and its receiver: pure functions of a random generator."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from .stories import ENDINGS, Event


class Fault(StrEnum):
    """What is done to a share of the events."""

    DUPLICATE = "duplicate"
    SHUFFLE = "shuffle"
    LATE = "late"
    DROP = "drop"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request to the webhook: its body, and what was done to the event in it."""

    task_id: str
    body: bytes
    content_type: str = "application/json"
    fault: Fault | None = None
    #: What the endpoint is to answer.
    expected: frozenset[int] = field(default=frozenset({200}))


#: A shuffled event is overtaken by this many deliveries, and a duplicate follows as far behind.
MAX_DISTANCE = 40


def deliveries(
    random: Random, events: Iterable[Event], shares: dict[Fault, float], *, lose: float = 0
) -> list[Delivery]:
    """Return the deliveries of ``events``, in the order they are sent in; ``shares`` (0 to 1) go wrong.

    Of the events that end a task the share ``lose`` is never sent.

    Each event has at most one fault. Late ones come after everything else; of a malformed one a
    broken copy is sent just before it, as by a sender with a fault that is then mended.
    """
    sent: list[tuple[float, Delivery]] = []
    late: list[Delivery] = []
    for place, event in enumerate(events):
        if lose and event["status"] in ENDINGS and random.random() < lose:
            continue
        good = Delivery(event["task_id"], json.dumps(event, ensure_ascii=False).encode())
        fault = _fault(random, shares)
        behind = place + random.randint(2, MAX_DISTANCE) + 0.5
        match fault:  # a dropped event is not sent at all
            case None:
                sent.append((place, good))
            case Fault.DUPLICATE:
                sent += [(place, good), (behind, _marked(good, fault))]
            case Fault.SHUFFLE:
                sent.append((behind, _marked(good, fault)))
            case Fault.LATE:
                late.append(_marked(good, fault))
            case Fault.MALFORMED:
                sent += [(place, malformed(random, event)), (place, good)]
    random.shuffle(late)
    return [delivery for _, delivery in sorted(sent, key=lambda item: item[0])] + late


def malformed(random: Random, event: Event) -> Delivery:
    """Return ``event`` as a sender with a fault would post it, to be rejected."""
    nameless = {name: value for name, value in event.items() if name != "task_id"}
    body, content_type, expected = random.choice(
        [
            (json.dumps(event).encode()[:-9], "application/json", 422),
            (b"", "application/json", 422),
            (_json({**event, "progress": 101}), "application/json", 422),
            (_json({**event, "progress": "50"}), "application/json", 422),
            (_json({**event, "timestamp": "yesterday"}), "application/json", 422),
            (_json(nameless), "application/json", 422),
            (_json(event), "text/plain", 415),
        ]
    )
    return Delivery(event["task_id"], body, content_type, Fault.MALFORMED, frozenset({expected}))


def _fault(random: Random, shares: dict[Fault, float]) -> Fault | None:
    chance = random.random()
    for fault in Fault:
        chance -= shares.get(fault, 0)
        if chance < 0:
            return fault
    return None


def _marked(delivery: Delivery, fault: Fault) -> Delivery:
    return Delivery(delivery.task_id, delivery.body, fault=fault)


def _json(value: Event) -> bytes:
    return json.dumps(value).encode()
