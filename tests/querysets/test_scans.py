"""Read whole columns and tables in steps."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tasks.models import Task
from tasks.querysets.scans import capped_counts, counts_by, in_batches, known_values
from tests.databases import more_on_citus
from tests.factories import record

pytestmark = pytest.mark.django_db


def test_known_values_are_found_in_one_query_and_bounded(django_assert_num_queries: Any) -> None:
    for place, zone in enumerate(["b", "a", None, "c", "a", ""]):
        record(task_id=str(place), origin_zone=zone)

    with django_assert_num_queries(1 + more_on_citus(4)):
        assert known_values(Task, "origin_zone", using="default") == ["", "a", "b", "c"]
    assert known_values(Task, "origin_zone", using="default", most=2) == ["", "a"]
    assert known_values(Task, "error_category", using="default") == []


def test_known_values_where_no_recursive_query_runs(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"DISTRIBUTED": True}
    for place, zone in enumerate(["b", "a", None, "c", "a", ""]):
        record(task_id=str(place), origin_zone=zone)

    with CaptureQueriesContext(connection) as captured:
        assert known_values(Task, "origin_zone", using="default") == ["", "a", "b", "c"]
    assert not any("RECURSIVE" in query["sql"] for query in captured)
    assert known_values(Task, "origin_zone", using="default", most=2) == ["", "a"]
    assert known_values(Task, "error_category", using="default") == []


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_batches_hold_every_row_once_from_the_last_on(size: int) -> None:
    for number in range(4):
        record(task_id=f"t{number}")

    assert [task.pk for task in in_batches(Task.objects.all(), size=size)] == ["t3", "t2", "t1", "t0"]


def test_no_batch_of_nothing() -> None:
    assert list(in_batches(Task.objects.all())) == []


def test_counts_end_at_their_cap_and_a_contradiction_counts_nothing() -> None:
    for place in range(4):
        record(task_id=str(place))
    tasks = Task.objects.all()
    counted = {"all": tasks, "none": tasks.none(), "one": tasks.filter(pk="1"), "in": tasks.filter(pk__in=[])}

    assert capped_counts(counted, cap=2, using="default") == {"all": 3, "none": 0, "one": 1, "in": 0}


def test_limited_rows_are_counted_by_a_column(django_assert_num_queries: Any) -> None:
    for number, zone in enumerate(["b", "a", "b", "c"]):
        record(task_id=str(number), origin_zone=zone)
    tasks = Task.objects.order_by("task_id")[:3]

    with django_assert_num_queries(1):
        assert counts_by(tasks, "origin_zone", total="event_count") == [("a", 1, 1), ("b", 2, 2)]
    assert counts_by(Task.objects.none(), "origin_zone", total="event_count") == []
