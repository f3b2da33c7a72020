"""The migrations on databases that are not empty: other schemas, a host's relations, senders that post."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, migrations, models, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.transaction import TransactionManagementError

from tasks.database.operations import AddIndexBesideWriters, RemoveIndexBesideWriters
from tasks.models import Task, TaskStatusEvent
from tests.factories import record

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's schemas and locks")
INDEX = models.Index(fields=["origin_instance"], name="sartiq_test_instance")


@pytest.fixture
def second_schema(transactional_db: None) -> Iterator[None]:
    """Another schema of the same database, first in the search path, beside the one with the tables."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA second; SET search_path = second, public")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA second CASCADE; SET search_path = public")


@on_postgresql
@pytest.mark.usefixtures("second_schema")
def test_a_second_schema_of_the_same_database_gets_all_of_it() -> None:
    with connection.cursor() as cursor:
        # Without public, or Django would find the table of migrations there.
        cursor.execute("SET search_path = second")
    call_command("migrate", verbosity=0)

    assert indexes("second") == indexes("public") != set()
    record()
    assert Task.objects.count() == 1
    call_command("migrate", "sartiq_tasks", "zero", verbosity=0)
    assert indexes("second") == set()
    assert indexes("public") != set()


def indexes(schema: str) -> set[tuple[str, str]]:
    """Return each index of the app's tables in ``schema``, with how it is made."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, replace(indexdef, schemaname || '.', '') FROM pg_indexes "
            "WHERE schemaname = %s AND tablename LIKE 'sartiq_tasks_%%'",
            [schema],
        )
        return set(cursor.fetchall())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", [models.ForeignKey, models.OneToOneField, models.ManyToManyField])
@pytest.mark.parametrize("target", [Task, TaskStatusEvent])
def test_a_relation_of_a_hosts_model(kind: Any, target: Any) -> None:
    is_many = kind is models.ManyToManyField
    options: dict[str, Any] = {} if is_many else {"on_delete": models.CASCADE}
    about = kind(target._meta.label, related_name="+", **options)
    create = migrations.CreateModel("Note", [("id", models.BigAutoField(primary_key=True)), ("about", about)])
    before = MigrationLoader(connection).project_state()
    after = before.clone()
    create.state_forwards("tests", after)
    with connection.schema_editor() as editor:
        create.database_forwards("tests", editor, before, after)
    notes = after.apps.get_model("tests", "Note").objects

    def note(key: Any) -> None:
        with transaction.atomic():
            if is_many:
                notes.create().about.add(key)
            else:
                notes.create(about_id=key)
            connection.check_constraints()

    recorded = record()
    try:
        note(target.objects.get().pk)
        assert notes.filter(about=target.objects.get().pk).count() == 1
        assert record().duplicate
        with pytest.raises(IntegrityError):
            note("no such task" if target is Task else recorded.event_id + 1000)
    finally:
        with connection.schema_editor() as editor:
            create.database_backwards("tests", editor, after, before)


def states() -> tuple[ProjectState, ProjectState]:
    """Return the state of the models without and with the index."""
    before = MigrationLoader(connection).project_state()
    after = before.clone()
    AddIndexBesideWriters("Task", INDEX).state_forwards("sartiq_tasks", after)
    return before, after


def has_index() -> bool:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, Task._meta.db_table)
    return INDEX.name in found


def migrate(operation: Any, start: ProjectState, end: ProjectState, *, backwards: bool = False) -> None:
    with connection.schema_editor(atomic=False) as editor:
        step = operation.database_backwards if backwards else operation.database_forwards
        step("sartiq_tasks", editor, start, end)


@pytest.mark.django_db(transaction=True)
def test_an_index_comes_and_goes_both_ways() -> None:
    without, with_it = states()
    add = AddIndexBesideWriters("Task", INDEX)
    remove = RemoveIndexBesideWriters("Task", INDEX.name)

    migrate(add, without, with_it)
    assert has_index()
    migrate(remove, with_it, without)
    assert not has_index()
    migrate(remove, without, with_it, backwards=True)
    assert has_index()
    migrate(add, with_it, without, backwards=True)
    assert not has_index()


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_what_follows_waits_for_locks_as_before() -> None:
    without, with_it = states()
    before = lock_timeout()

    migrate(AddIndexBesideWriters("Task", INDEX), without, with_it)
    assert lock_timeout() == before
    migrate(RemoveIndexBesideWriters("Task", INDEX.name), with_it, without)
    assert lock_timeout() == before


def lock_timeout() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        return str(cursor.fetchone()[0])


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_what_a_broken_attempt_left_is_replaced() -> None:
    without, with_it = states()
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX {INDEX.name} ON sartiq_tasks_task (progress)")
    migrate(AddIndexBesideWriters("Task", INDEX), without, with_it)
    try:
        assert ("origin_instance" in dict(indexes("public"))[INDEX.name]) is True
    finally:
        migrate(AddIndexBesideWriters("Task", INDEX), with_it, without, backwards=True)


class ElsewhereRouter:
    """Keeps the app's tables to another database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return app_label != "sartiq_tasks"


@pytest.mark.django_db(transaction=True)
def test_no_index_comes_or_goes_where_the_table_is_not(settings: Any) -> None:
    without, with_it = states()
    add = AddIndexBesideWriters("Task", INDEX)

    settings.DATABASE_ROUTERS = [f"{__name__}.ElsewhereRouter"]
    migrate(add, without, with_it)
    assert not has_index()
    settings.DATABASE_ROUTERS = []
    migrate(add, without, with_it)
    settings.DATABASE_ROUTERS = [f"{__name__}.ElsewhereRouter"]
    migrate(add, with_it, without, backwards=True)
    assert has_index()
    settings.DATABASE_ROUTERS = []
    migrate(add, with_it, without, backwards=True)
    assert not has_index()


@on_postgresql
@pytest.mark.django_db
def test_in_a_transaction_it_says_what_to_set() -> None:
    without, with_it = states()

    with pytest.raises(TransactionManagementError, match="atomic = False"):
        migrate(AddIndexBesideWriters("Task", INDEX), without, with_it)


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_eight_writers_post_while_an_index_is_made_and_removed() -> None:
    """No writer waits longer for a lock than its own limit, and none deadlocks: either would raise."""
    without, with_it = states()
    stopped = Event()

    def write(writer: int) -> int:
        written = 0
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2500ms'; SET deadlock_timeout = '200ms'")
        while not stopped.is_set():
            record(task_id=f"task-{writer % 3}", progress=written % 100, writer=writer, number=written)
            written += 1
        connection.close()
        return written

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, writer) for writer in range(8)]
        try:
            for _ in range(5):
                migrate(AddIndexBesideWriters("Task", INDEX), without, with_it)
                migrate(RemoveIndexBesideWriters("Task", INDEX.name), with_it, without)
        finally:
            stopped.set()
        counts = [writer.result() for writer in writers]

    assert min(counts) > 0
    assert TaskStatusEvent.objects.count() == sum(counts)


BEFORE_THE_FIRST_RELEASE = {"0001_initial", "0002_postgresql_layout"}


def test_after_the_first_release_every_index_is_made_beside_writers() -> None:
    """The first migrations meet empty tables; later ones meet a ledger and its writers."""
    migrations_of_app = {
        name: migration.operations
        for (app, name), migration in MigrationLoader(None).disk_migrations.items()
        if app == "sartiq_tasks"
    }

    assert {name for name, operations in migrations_of_app.items() if locks_writers_out(operations)} <= (
        BEFORE_THE_FIRST_RELEASE
    )


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (migrations.AddIndex("Task", INDEX), True),
        (migrations.RemoveIndex("Task", INDEX.name), True),
        (AddIndexBesideWriters("Task", INDEX), False),
        (RemoveIndexBesideWriters("Task", INDEX.name), False),
        (migrations.RunSQL(""), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_which_operations_on_an_index_lock_writers_out(operation: Any, expected: bool) -> None:
    assert locks_writers_out([migrations.RunSQL(""), operation]) is expected


def locks_writers_out(operations: Sequence[Any]) -> bool:
    """Return whether one of ``operations`` adds or removes an index as Django does."""
    beside_writers = (AddIndexBesideWriters, RemoveIndexBesideWriters)
    return any(
        isinstance(one, (migrations.AddIndex, migrations.RemoveIndex)) and not isinstance(one, beside_writers)
        for one in operations
    )
