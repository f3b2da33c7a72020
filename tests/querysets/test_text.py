"""Conditions on text columns."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection

from tasks.models import Task
from tasks.querysets.text import begins_with, may_be_stored
from tests.cluster import not_on_citus

pytestmark = pytest.mark.django_db

#: The range that an index is searched for, as each database words it in a plan.
RANGE = {
    "postgresql": r"Index Cond: .*task_id.* >= .* AND .*task_id.* < ",
    "sqlite": r"\(task_id>\? AND task_id<\?\)",
}


@not_on_citus("its plan names no condition of a shard")
def test_a_prefix_is_a_range_of_the_index() -> None:
    tasks = Task.objects.filter(begins_with("task_id", "abc"))

    plan = kept_plan(tasks) if connection.vendor == "postgresql" else tasks.explain()

    assert re.search(RANGE[connection.vendor], plan)


def kept_plan(rows: Any) -> str:
    """Return the plan that PostgreSQL keeps for a prepared statement, whatever its parameters are."""
    sql, given = rows.query.sql_with_params()
    places = tuple(f"${number}" for number, _ in enumerate(given, 1))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute("SET LOCAL enable_seqscan = off")  # which would serve an empty table
        cursor.execute(f"PREPARE kept AS {sql % places}")
        cursor.execute("EXPLAIN EXECUTE kept ({})".format(", ".join(f"'{value}'" for value in given)))
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("DEALLOCATE kept")
    return plan


@pytest.mark.parametrize(
    ("text", "may"),
    [("", True), ("a" * 255, True), ("a" * 256, False), ("a\0b", False), ("\U0001f4a5", True)],
)
def test_what_the_database_can_be_asked_for(text: str, may: bool) -> None:
    assert may_be_stored(text) is may
