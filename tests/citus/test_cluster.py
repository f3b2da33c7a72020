"""The cluster as a whole: any node takes deliveries, a later release can migrate, nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.test import Client

from tasks.database import distribution
from tasks.database.operations import AddIndexBesideWriters
from tasks.models import RejectedDelivery, Task, TaskStatusEvent
from tests import cluster, factories
from tests.conftest import WEBHOOK
from tests.factories import body, record

pytestmark = [pytest.mark.citus, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def at_worker() -> Iterator[None]:
    """Have this thread's connection lead to a worker."""
    settings = connection.settings_dict
    coordinator = settings["HOST"], settings["PORT"]
    connection.close()
    settings["HOST"], settings["PORT"] = cluster.workers(connection)[0]
    yield
    connection.close()
    settings["HOST"], settings["PORT"] = coordinator


def client() -> Client:
    return Client(headers={"Authorization": f"Bearer {factories.client_token()}"})


def test_every_table_is_in_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    found = distribution.placed(connection)
    assert {table: found.get(table) for table in distribution.places()} == distribution.places()

    call_command("distribute_ledger")

    assert capsys.readouterr().out == "Every table is in its place.\n"


@pytest.mark.usefixtures("at_worker")
def test_a_worker_distributes_nothing() -> None:
    with pytest.raises(CommandError, match="not the coordinator"):
        call_command("distribute_ledger")


def test_ids_go_on_after_those_of_before() -> None:
    # The tables of both were not empty when they were distributed.
    last = Permission.objects.order_by("pk").last()

    made = Permission.objects.create(name="x", codename="x", content_type=last.content_type)

    assert made.pk > last.pk


@pytest.mark.usefixtures("at_worker")
def test_a_worker_takes_deliveries_as_the_coordinator_does() -> None:
    sender = client()
    for number in range(20):
        sent = body(task_id=f"t{number % 5}", progress=number)
        for is_duplicate in (False, True):
            answer = sender.post(WEBHOOK, sent, content_type="application/json")
            assert (answer.status_code, answer.json()["duplicate"]) == (200, is_duplicate)
    assert sender.post(WEBHOOK, body(progress=101), content_type="application/json").status_code == 422
    assert Client().get("/readyz").status_code == 200

    assert sorted(Task.objects.values_list("event_count", flat=True)) == [4] * 5
    assert RejectedDelivery.objects.count() == 1


def test_ids_grow_on_whichever_node(at_worker: None) -> None:
    first = record(task_id="t").event_id
    connection.close()

    assert first < 2**53
    assert [record(task_id="t", progress=number).event_id > first for number in range(3)] == [True] * 3
    assert TaskStatusEvent.objects.order_by("pk").first().pk == first


def test_a_later_release_adds_a_column_and_an_index() -> None:
    record()
    operations: list[Any] = [
        migrations.AddField("task", "note", models.CharField(max_length=9, null=True)),
        AddIndexBesideWriters("taskstatusevent", models.Index(fields=["origin_zone"], name="later_zone")),
    ]
    states = [MigrationLoader(connection).project_state()]
    for operation in operations:
        after = states[-1].clone()
        operation.state_forwards("sartiq_tasks", after)
        with connection.schema_editor(atomic=False) as editor:
            operation.database_forwards("sartiq_tasks", editor, states[-1], after)
        states.append(after)
    try:
        states[-1].apps.get_model("sartiq_tasks", "Task").objects.update(note="later")
        assert not record(progress=6).duplicate
    finally:
        for number in reversed(range(len(operations))):
            with connection.schema_editor(atomic=False) as editor:
                operations[number].database_backwards(
                    "sartiq_tasks", editor, states[number + 1], states[number]
                )
