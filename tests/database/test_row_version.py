"""Rows of our own statements: the cursor that is kept, and instances as the ORM would have loaded them."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from oauth2_provider.models import get_access_token_model

from tasks.database.row_version import copy_of, instance_of_row, kept_cursor
from tasks.models import Task, TaskStatusEvent
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


def test_a_copy_shares_nothing_with_what_it_was_made_of(django_assert_num_queries: Any) -> None:
    recorded = factories.record()
    event = TaskStatusEvent.objects.select_related("task").get(pk=recorded.event_id)
    event.task.previous_status = "copied too"

    copied = copy_of(event)

    assert copied == event
    with django_assert_num_queries(0):
        assert (copied.status, copied.task.previous_status) == ("running", "copied too")
    copied.status = copied.task.status = "changed"
    assert (event.status, event.task.status) == ("running", "running")
    copied.task = Task(task_id="task-2")
    copied.save(update_fields=["status"])  # it is known to be in the database
    assert event.task.pk == "task-1"


on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="kept on PostgreSQL alone")


def one() -> Any:
    cursor = kept_cursor(connection)
    cursor.execute("SELECT 1")
    return cursor.fetchone()[0]


@on_postgresql
def test_one_cursor_serves_every_statement() -> None:
    assert kept_cursor(connection).cursor is kept_cursor(connection).cursor
    assert (one(), one()) == (1, 1)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="kept on PostgreSQL")
def test_sqlite_has_a_new_one_each_time() -> None:
    assert kept_cursor(connection).cursor is not kept_cursor(connection).cursor


def test_its_statements_are_counted_and_logged_as_any() -> None:
    one()
    with CaptureQueriesContext(connection) as queries:
        one()
    assert [query["sql"] for query in queries] == ["SELECT 1"]


def test_it_serves_on_after_a_statement_that_failed() -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        kept_cursor(connection).execute("SELECT nothing_of_that_name")
    assert one() == 1


@pytest.mark.django_db(transaction=True)
def test_a_new_connection_has_a_new_one() -> None:
    one()
    connection.close()
    assert one() == 1


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_of_a_connection_that_the_server_ended_it_fails_as_any_other_and_then_comes_back() -> None:
    one()
    assert connection.connection is not None
    connection.connection.close()
    with pytest.raises(OperationalError):
        one()
    connection.close()
    assert one() == 1
