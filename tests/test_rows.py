"""Instances from rows: what the ORM would have loaded."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from oauth2_provider.models import get_access_token_model

from tasks.models import Task, TaskStatusEvent
from tasks.rows import instance_of_row
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", [Task, TaskStatusEvent, get_access_token_model()])
def test_a_row_becomes_what_the_orm_loads(model: type) -> None:
    factories.record(**factories.full_body())
    factories.token(resource=["https://tasks.example.org"])
    fields = model._meta.concrete_fields
    with connection.cursor() as cursor:
        columns = ", ".join(connection.ops.quote_name(field.column) for field in fields)
        cursor.execute(f"SELECT {columns} FROM {model._meta.db_table}")
        row = cursor.fetchone()

    instance = instance_of_row(model, row, connection)

    loaded = model._base_manager.get()
    assert instance == loaded
    assert instance._state.db == "default"
    for field in fields:
        assert getattr(instance, field.attname) == getattr(loaded, field.attname)
        assert type(getattr(instance, field.attname)) is type(getattr(loaded, field.attname))


def test_what_a_row_leaves_out_is_loaded_when_it_is_asked_for(django_assert_num_queries: Any) -> None:
    factories.record(error_message="out of memory")
    names = ("task_id", "status")

    instance = instance_of_row(Task, ("task-1", "running"), connection, names)

    with django_assert_num_queries(0):
        assert (instance.pk, instance.status) == ("task-1", "running")
    with django_assert_num_queries(1):
        assert instance.error_message == "out of memory"
