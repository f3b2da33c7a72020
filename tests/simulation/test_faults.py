from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

import pytest

from tasks.simulation.faults import MAX_DISTANCE, Delivery, Fault, deliveries, malformed
from tasks.simulation.stories import ENDINGS
from tests.factories import body, full_body

EVENTS = [body(progress=number, task_id=f"task-{number}") for number in range(100)]
IN_ORDER = [event["task_id"] for event in EVENTS]


def sent(**shares: float) -> list[Delivery]:
    return deliveries(Random(1), EVENTS, {Fault(fault): share for fault, share in shares.items()})


def order(given: list[Delivery]) -> list[str]:
    return [delivery.task_id for delivery in given]


def test_without_faults_each_event_is_sent_once_in_order() -> None:
    assert order(sent()) == IN_ORDER
    assert [json.loads(delivery.body) for delivery in sent()] == EVENTS
    assert {delivery.expected for delivery in sent()} == {frozenset({200})}


def test_a_duplicate_is_the_same_bytes_a_little_later() -> None:
    given = sent(duplicate=1)
    bodies = [delivery.body for delivery in given]

    assert len(given) == 200
    assert set(Counter(bodies).values()) == {2}
    assert [delivery.task_id for delivery in given if delivery.fault is None] == IN_ORDER
    for delivery in given:
        first, second = (at for at, one in enumerate(bodies) if one == delivery.body)
        assert given[first].fault is None
        assert given[second].fault is Fault.DUPLICATE


def test_a_shuffled_event_is_overtaken() -> None:
    given = order(sent(shuffle=0.5))

    assert given != IN_ORDER
    assert sorted(given) == sorted(IN_ORDER)
    assert max(given.index(task_id) - IN_ORDER.index(task_id) for task_id in given) <= MAX_DISTANCE


def test_late_events_come_after_all_others() -> None:
    faults = [delivery.fault for delivery in sent(late=0.2)]
    late = faults.count(Fault.LATE)

    assert 0 < late < 100
    assert faults == [None] * (100 - late) + [Fault.LATE] * late


def test_a_dropped_event_is_not_sent() -> None:
    assert sent(drop=1) == []
    assert 0 < len(sent(drop=0.5)) < 100


def test_a_broken_copy_of_a_malformed_event_comes_before_the_good_one() -> None:
    given = sent(malformed=1)

    assert [delivery.fault for delivery in given] == [Fault.MALFORMED, None] * 100
    assert order(given)[::2] == order(given)[1::2] == IN_ORDER


def test_an_event_has_one_fault_at_most() -> None:
    faults = Counter(delivery.fault for delivery in sent(duplicate=0.25, shuffle=0.25, late=0.25, drop=0.25))

    assert faults[None] == faults[Fault.DUPLICATE]
    assert all(faults[fault] for fault in (Fault.DUPLICATE, Fault.SHUFFLE, Fault.LATE))


def test_the_same_generator_does_the_same() -> None:
    shares = {"duplicate": 0.1, "shuffle": 0.1, "late": 0.1, "drop": 0.1, "malformed": 0.1}

    assert sent(**shares) == sent(**shares)


def test_every_malformed_delivery_is_answered_as_it_says(post: Any) -> None:
    broken = {malformed(Random(seed), full_body()) for seed in range(60)}

    assert len(broken) == 7
    for delivery in broken:
        answer = post(delivery.body, content_type=delivery.content_type)
        assert answer.status_code in delivery.expected


@pytest.mark.parametrize("fault", Fault)
def test_the_faults_are_known_by_the_names_of_the_options(fault: Fault) -> None:
    assert fault in ("duplicate", "shuffle", "late", "drop", "malformed")


@pytest.mark.parametrize("status", sorted(ENDINGS))
def test_a_share_of_the_endings_is_never_sent(status: str) -> None:
    events = [body(progress=number, status=status) for number in range(100)]

    assert deliveries(Random(1), events, {}, lose=1) == []
    assert 20 < len(deliveries(Random(1), events, {}, lose=0.5)) < 80
    assert deliveries(Random(1), EVENTS, {}, lose=1) == sent()
