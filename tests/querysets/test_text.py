"""Conditions on text columns."""

from __future__ import annotations

import pytest
from django.db import connection

from tasks.models import Task
from tasks.querysets.text import begins_with, may_be_stored

pytestmark = pytest.mark.django_db


def test_a_prefix_is_a_range_of_the_index() -> None:
    plan = Task.objects.filter(begins_with("task_id", "abc")).explain()

    assert "task_id" in plan
    assert "SCAN" not in plan or connection.vendor == "postgresql"


@pytest.mark.parametrize(
    ("text", "may"),
    [("", True), ("a" * 255, True), ("a" * 256, False), ("a\0b", False), ("\U0001f4a5", True)],
)
def test_what_the_database_can_be_asked_for(text: str, may: bool) -> None:
    assert may_be_stored(text) is may
