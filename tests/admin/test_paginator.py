"""The paginator stops counting at its cap."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.admin import paginator
from tasks.models import Task
from tests.factories import NOON, minutes, record

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("rows", "count", "is_capped"), [(0, 0, False), (3, 3, False), (4, 3, True), (5, 3, True)]
)
def test_count(
    monkeypatch: Any, django_assert_num_queries: Any, rows: int, count: int, is_capped: bool
) -> None:
    monkeypatch.setattr(paginator, "MAX_COUNT", 3)
    for number in range(rows):
        record(task_id=str(number))
    pages = paginator.CappedPaginator(Task.objects.order_by("task_id"), 2)

    with django_assert_num_queries(1):
        assert (pages.count, pages.is_capped) == (count, is_capped)


def test_rows_that_are_read_are_counted_without_a_query(
    monkeypatch: Any, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(paginator, "MAX_COUNT", 3)
    for length, count, is_capped in ((0, 0, False), (3, 3, False), (4, 3, True)):
        pages = paginator.CappedPaginator([object()] * length, 2)
        with django_assert_num_queries(0):
            assert (pages.count, pages.is_capped) == (count, is_capped)


def test_a_later_page_reads_no_column_of_the_rows_before_it(django_assert_num_queries: Any) -> None:
    for number in range(5):
        record(NOON + minutes(number), task_id=str(number), status="failed", error_message=f"error {number}")
    pages = paginator.CappedPaginator(Task.objects.order_by("-last_received_at", "task_id").for_list(), 2)

    with django_assert_num_queries(2):
        later: Any = pages.page(2).object_list
        assert [(task.pk, task.error_start) for task in later] == [("2", "error 2"), ("1", "error 1")]
    assert str(later.query).count("error_message") == 2, "the two ends of the errors that are shown"
    assert [task.pk for task in pages.page(1).object_list] == ["4", "3"]
    assert [task.pk for task in pages.page(3).object_list] == ["0"]
