"""Which table goes to which nodes of a Citus cluster, and what prevents it. ``tests/citus`` has more."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection

from tasks.database.distribution import (
    Place,
    UniqueIndex,
    fault,
    fault_of_cluster,
    foreign_keys,
    has_citus,
    placed,
    places,
    steps,
    unique_indexes,
)
from tests.databases import is_citus

on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql" or is_citus(), reason="about PostgreSQL without Citus"
)
EVENTS, TASKS = "sartiq_tasks_taskstatusevent", "sartiq_tasks_task"
EVENT_ID = UniqueIndex(EVENTS, "sartiq_event_id", ("id",))


def test_what_has_a_task_id_goes_by_it_and_nothing_of_the_app_is_forgotten() -> None:
    found = places()

    for model in apps.get_app_config("sartiq_tasks").get_models():
        has_task_id = any(field.column == "task_id" for field in model._meta.fields)
        assert (found[model._meta.db_table] == Place.BY_TASK) == has_task_id
    assert next(iter(found)) == TASKS, "the others are put beside it"


@pytest.mark.parametrize(
    "table",
    [
        "sartiq_tasks_handler", "oauth2_provider_accesstoken", "oauth2_provider_application", "auth_user",
        "auth_user_groups", "auth_user_user_permissions", "auth_group", "auth_group_permissions",
        "auth_permission", "django_content_type",
    ],
)  # fmt: skip
def test_what_a_delivery_or_a_claim_reads_besides_is_on_every_node(table: str) -> None:
    assert places()[table] == Place.EVERYWHERE


def test_the_rest_is_at_the_coordinator() -> None:
    assert places()["sartiq_tasks_rejecteddelivery"] == Place.AT_COORDINATOR
    assert places()["django_migrations"] == Place.AT_COORDINATOR


class TokensElsewhere:
    """Users and their tokens are in another database."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return None if model._meta.app_label == "sartiq_tasks" else "users"


def test_tables_of_another_database_are_left_alone(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.database.test_distribution.TokensElsewhere"]

    assert get_user_model()._meta.db_table not in places()


def test_each_table_is_put_into_its_place_once() -> None:
    whole = list(steps({}, [EVENT_ID], shards=7))
    sql = [statement for step in whole for statement in step.statements]

    assert all(any(f'"{table}"' in statement for statement in sql) for table in places())
    assert sql[0] == f"SELECT create_distributed_table('\"{TASKS}\"', 'task_id', shard_count => 7)"
    beside = f"SELECT create_distributed_table('\"{EVENTS}\"', 'task_id', colocate_with => '\"{TASKS}\"')"
    assert sql.index("DROP INDEX sartiq_event_id") < sql.index(beside)
    assert f"CREATE INDEX sartiq_event_id ON {EVENTS} (id)" in sql
    assert list(steps(places(), [])) == []


def test_what_is_left_is_done_and_ids_go_on() -> None:
    (left,) = steps({**places(), "auth_user": "local"}, [])

    assert left.statements[1] == "SELECT create_reference_table('\"auth_user\"')"
    numbered = {table for table in places() if any(f'FROM "{table}"' in one for one in left.statements)}
    assert {"auth_user", "oauth2_provider_application", "sartiq_tasks_rejecteddelivery"} <= numbered
    assert not numbered & {EVENTS, "sartiq_tasks_reaction", "sartiq_tasks_handler"}


@on_postgresql
@pytest.mark.django_db
def test_an_id_that_was_given_is_not_given_again() -> None:
    users = get_user_model().objects
    users.create_user("ada", pk=1_000_000)
    (left,) = steps({**places(), "auth_user": "local"}, [])
    with connection.cursor() as cursor:
        for statement in (one for one in left.statements if "setval" in one):
            cursor.execute(statement)

    assert users.create_user("bob").pk == 1_000_001


def test_a_dropped_key_is_told() -> None:
    (step,) = steps({table: place for table, place in places().items() if table != EVENTS}, [EVENT_ID])

    assert "Its unique index sartiq_event_id goes, for a plain one: no node can keep it." in step.words


@on_postgresql
@pytest.mark.django_db
def test_the_events_id_is_the_only_key_in_the_way() -> None:
    assert unique_indexes(connection) == [EVENT_ID]


@on_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize(("table", "key"), [(EVENTS, "id"), (TASKS, "task_id")])
def test_a_hosts_foreign_key_is_found(table: str, key: str) -> None:
    assert foreign_keys(connection) == []
    kind = "bigint" if key == "id" else 'varchar(255) COLLATE "C"'
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE note (about {kind} CONSTRAINT note_about REFERENCES {table} ({key}))")

    assert foreign_keys(connection) == [("note", "note_about")]


@pytest.mark.skipif(is_citus(), reason="about databases without Citus")
@pytest.mark.django_db
def test_a_database_without_citus_says_so() -> None:
    assert "Citus is not installed" in (fault(connection) or "")


@pytest.mark.parametrize(
    ("group", "coordinators", "others", "told"),
    [
        (1, 1, 2, "This is not the coordinator"),
        (0, 0, 2, "citus_set_coordinator_host"),
        (0, 1, 0, "citus_add_node"),
        (0, 1, 2, None),
    ],
)
def test_why_nothing_is_distributed(group: int, coordinators: int, others: int, told: str | None) -> None:
    found = fault_of_cluster(group, coordinators, others)

    assert found is None if told is None else told in (found or "")


@on_postgresql
@pytest.mark.django_db
def test_without_citus_no_table_is_placed() -> None:
    assert not has_citus(connection)
    assert placed(connection) == {}


@on_postgresql
@pytest.mark.django_db
def test_ids_of_events_from_the_clock_grow_and_are_exact_in_javascript() -> None:
    (step,) = steps({table: place for table, place in places().items() if table != EVENTS}, [])
    with connection.cursor() as cursor:
        for statement in (one for one in step.statements if not one.startswith("SELECT")):
            cursor.execute(statement)
        # The ranges of the sequence that Citus gives to the coordinator and to the nodes 1 and 31.
        ids = []
        for start in (1, (1 << 48) + 1, (31 << 48) + 1):
            cursor.execute(f"ALTER SEQUENCE sartiq_event_number RESTART WITH {start}")
            cursor.execute(
                "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = %s::regclass "
                "AND adnum = 1",
                [EVENTS],
            )
            (default,) = cursor.fetchone()
            cursor.execute(f"SELECT {default}, {default}, {default}")
            ids += cursor.fetchone()

    assert ids == sorted(ids)
    assert len(set(ids)) == 9
    assert max(ids) < 2**53
    assert [one >> 16 & 63 for one in ids[::3]] == [0, 1, 31]
