"""The state does not depend on the order in which events arrive, nor on how often."""

from __future__ import annotations

from typing import Any

from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from tasks.ledger.rebuilding import rebuild_task
from tasks.models import Task, TaskStatusEvent
from tests.databases import is_citus
from tests.factories import NOON, minutes, record

DELIVERIES = st.lists(
    st.fixed_dictionaries(
        {
            "received_at": st.integers(0, 4).map(lambda minute: NOON + minutes(minute)),
            "timestamp": st.sampled_from(
                [None, *((NOON + minutes(minute)).isoformat() for minute in (-1, 0, 1, 2, 600))]
            ),
            "status": st.sampled_from([None, "pending", "RUNNING", "completed", "failed", "unheard-of"]),
            "progress": st.sampled_from([0, 1, 1.001, 2]),
            "event_type": st.sampled_from(["a", "b"]),
            "entity_id": st.sampled_from([None, "e", "f"]),
            "origin_zone": st.sampled_from([None, "eu", "us"]),
            "error_message": st.sampled_from([None, "boom"]),
            "completed_at": st.sampled_from([None, NOON.isoformat()]),
            "started_at": st.sampled_from([None, NOON.isoformat()]),
        }
    ),
    min_size=1,
    max_size=7,
    # The same event twice is a matter of deliveries; here each has one time of receipt.
    unique_by=lambda sent: frozenset((sent | {"received_at": None}).items()),
)
#: What depends on arrival by its nature: the numbers of rows, and what was there just before.
ARRIVAL = {"first_event_id", "last_event_id", "previous_status"}


class OrderOfArrivalTests(TestCase):
    """The state after random histories, each in random orders and with events repeated."""

    def row_after(self, deliveries: list[dict[str, Any]], *, distributed: bool = False) -> dict[str, Any]:
        Task.objects.all().delete()
        TaskStatusEvent.objects.all().delete()
        with override_settings(SARTIQ_TASKS={"DISTRIBUTED": distributed or is_citus()}):
            for sent in deliveries:
                record(**sent)
        row = Task.objects.values().get()
        numbers = {event.pk: event.payload_digest for event in TaskStatusEvent.objects.all()}
        return {
            **{name: value for name, value in row.items() if name not in ARRIVAL},
            "first_event": numbers[row["first_event_id"]],
            "last_event": numbers[row["last_event_id"]],
        }

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(DELIVERIES, st.data())
    def test_the_order_and_number_of_arrivals_never_matter(
        self, history: list[dict[str, Any]], data: st.DataObject
    ) -> None:
        shuffled = data.draw(st.permutations(history))
        repeated = data.draw(st.lists(st.sampled_from(history), max_size=3))

        row = self.row_after(history)

        assert self.row_after([*shuffled, *repeated]) == row
        assert self.row_after([*repeated, *shuffled], distributed=True) == row
        assert self.row_after([*history[::-1]]) == row
        assert rebuild_task("task-1") == {}
