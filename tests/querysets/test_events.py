"""Reads of the ledger at a size where the planner's choice matters."""

from __future__ import annotations

import pytest
from django.db import connection

from tasks.models import TaskStatusEvent
from tests.cluster import not_on_citus
from tests.factories import record

pytestmark = pytest.mark.django_db


def test_a_sample_has_the_first_and_the_last_and_no_more_than_asked_for() -> None:
    ids = [record(task_id="long", progress=progress).event_id for progress in range(20)]
    sampled = list(TaskStatusEvent.objects.sampled("long", 5).values_list("pk", flat=True))

    assert {ids[0], ids[-1]} <= set(sampled) <= set(ids)
    assert len(sampled) <= 5
    assert list(TaskStatusEvent.objects.sampled("none", 5)) == []


def test_metadata_is_read_where_it_is_small() -> None:
    record(task_id="small", metadata={"loss": 0.5})
    record(task_id="large", metadata={"losses": list(range(2000))})

    small = TaskStatusEvent.objects.small_metadata(500)

    assert small == {TaskStatusEvent.objects.get(task_id="small").pk: {"loss": 0.5}}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL's planner")
@not_on_citus("its plan shows one shard, and the rows are in another")
@pytest.mark.parametrize(
    ("column", "index"),
    [
        ("event_type", "sartiq_event_type"),
        ("task_type", "sartiq_event_task_type"),
        ("status", "sartiq_event_status"),
        ("error_category", "sartiq_event_error"),
    ],
)
def test_the_last_events_with_a_value_are_read_from_one_index(column: str, index: str) -> None:
    """Even if only old events have it: the index of ids would read all newer ones first."""
    record(**{column: "old"})
    columns = [str(field.column) for field in TaskStatusEvent._meta.concrete_fields]
    values = {"id": "id + number", "idempotency_key": "sha256(int8send(number))"}
    values[column] = "CASE WHEN number <= 5000 THEN 'old' ELSE 'new' END"
    selected = ", ".join(values.get(name, name) for name in columns)
    table = TaskStatusEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) "
            f"SELECT {selected} FROM {table}, generate_series(1, 20000) AS number"
        )
        cursor.execute(f"ANALYZE {table}")

    plan = TaskStatusEvent.objects.with_value(column, "old").order_by(f"-{column}", "-id")[:100].explain()
    usual = TaskStatusEvent.objects.filter(**{column: "old"}).order_by("-id")[:100].explain()

    assert f"using {index} " in plan
    assert "Sort" not in plan
    assert f"using {index} " not in usual
