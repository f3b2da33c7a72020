"""The paginator stops counting at its cap."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.admin import paginator
from tasks.models import Task
from tests.factories import record

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
