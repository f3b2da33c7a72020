"""Where each table goes on the nodes of a Citus cluster, and the statements that put it there.

Everything about one task is on one node: its row, its events and its reactions are distributed by
``task_id``. Every node has a copy of what a delivery or a claim reads besides: credentials and handlers.
The other tables stay at the coordinator, where the other nodes can query them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import AutoField, Model
from oauth2_provider.models import get_access_token_model

from ..models import Handler, Task, TaskStatusEvent

SHARDS = 32
_KEY = "task_id"
_EVENT = TaskStatusEvent._meta.db_table


class Place(StrEnum):
    """Where the rows of a table are, as Citus calls it."""

    BY_TASK = "distributed"
    EVERYWHERE = "reference"
    AT_COORDINATOR = "local"


_WORDS = {
    Place.BY_TASK: "is spread over the nodes by task_id",
    Place.EVERYWHERE: "is copied to every node",
    Place.AT_COORDINATOR: "stays at the coordinator, where the other nodes can read and write it",
}


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A unique index without ``task_id``, which no node could keep: it knows its own rows only."""

    table: str
    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What is done in one transaction, in words and in SQL."""

    words: tuple[str, ...]
    statements: tuple[str, ...]


def places() -> dict[str, Place]:
    """Return where each table belongs, the table of tasks first."""
    using = router.db_for_write(TaskStatusEvent)
    own = list(apps.get_app_config(Task._meta.app_label).get_models())
    by_task: list[Any] = [model for model in own if any(field.column == _KEY for field in model._meta.fields)]
    by_task.sort(key=lambda model: model is not Task)
    everywhere: list[Any] = [
        Handler,
        *(model for model in _credentials() if router.db_for_write(model) == using),
    ]
    found = dict.fromkeys((model._meta.db_table for model in by_task), Place.BY_TASK)
    found |= dict.fromkeys((model._meta.db_table for model in everywhere), Place.EVERYWHERE)
    rest = (*(model._meta.db_table for model in own), MigrationRecorder.Migration._meta.db_table)
    return found | {table: Place.AT_COORDINATOR for table in rest if table not in found}


def _credentials() -> list[type[Model]]:
    """Return the models of tokens, applications, users and permissions, and what joins them."""
    tokens = get_access_token_model()
    about = [tokens._meta.get_field(name).related_model for name in ("application", "user")]
    waiting: list[Any] = [tokens, *about, Permission, ContentType]
    found: list[Any] = []
    while waiting:
        model = waiting.pop(0)
        if model not in found:
            found.append(model)
            granting = (one for one in model._meta.many_to_many if one.related_model in (Group, Permission))
            waiting += [
                one for field in granting for one in (field.related_model, field.remote_field.through)
            ]
    return found


def steps(
    found: Mapping[str, str], indexes: Collection[UniqueIndex], *, shards: int = SHARDS
) -> Iterator[Step]:
    """Yield the steps that are left.

    ``found`` says where each table is now, ``indexes`` are the ``unique_indexes()`` that are in the way.
    """
    left = {table: place for table, place in places().items() if found.get(table) != place}
    root = next(iter(places()))
    for table, place in left.items():
        if place is Place.BY_TASK:
            where = f"shard_count => {shards}" if table == root else f"colocate_with => '\"{root}\"'"
            yield _spread(table, where, [one for one in indexes if one.table == table])
    others = [(table, place) for table, place in left.items() if place is not Place.BY_TASK]
    if others:
        yield Step(
            tuple(f"{table} {_WORDS[place]}." for table, place in others),
            # Users and tokens refer to one another: in one transaction Citus does that over one connection.
            (
                "SET LOCAL citus.multi_shard_modify_mode = sequential",
                *(_PUT[place].format(table) for table, place in others),
                *_numbers(),
            ),
        )


_PUT = {
    Place.EVERYWHERE: "SELECT create_reference_table('\"{}\"')",
    Place.AT_COORDINATOR: "SELECT citus_add_local_table_to_metadata('\"{}\"', true)",
}


def _spread(table: str, where: str, indexes: Collection[UniqueIndex]) -> Step:
    words, statements = [f"{table} {_WORDS[Place.BY_TASK]}."], []
    for index in indexes:
        words.append(f"Its unique index {index.name} goes, for a plain one: no node can keep it.")
        columns = ", ".join(index.columns)
        statements += [f"DROP INDEX {index.name}", f"CREATE INDEX {index.name} ON {table} ({columns})"]
    if table == _EVENT:
        words.append("Its ids come from the clock and the node, so that they grow on any node.")
        statements += _EVENT_IDS
    statements += [
        f"SELECT create_distributed_table('\"{table}\"', '{_KEY}', {where})",
        f"SELECT truncate_local_data_after_distributing_table('\"{table}\"')",
    ]
    return Step(tuple(words), tuple(statements))


def _numbers() -> Iterator[str]:
    """Yield the statements that let ids go on: Citus recreates these tables, and their ids would begin at 1.

    Ids from 2^48 on belong to the other nodes, each of which has a range of its own.
    """
    using = router.db_for_write(TaskStatusEvent)
    by_task = _by_task()
    for model in apps.get_models(include_auto_created=True):
        table, key = model._meta.db_table, model._meta.pk
        if not isinstance(key, AutoField) or table in by_task or not router.allow_migrate_model(using, model):
            continue
        sequence = f"pg_get_serial_sequence('\"{table}\"', '{key.column}')"
        last = f"greatest(max({key.column}), pg_sequence_last_value({sequence}))"
        own = f"{key.column} < {1 << 48}"
        yield f'SELECT setval({sequence}, {last}) FROM "{table}" WHERE {own} HAVING count(*) > 0'  # noqa: S608


# Seconds since 2020, the node and a number: 31, 6 and 16 bits, which JavaScript reads exactly. Citus gives
# every node a range of the sequence, so that the high bits of its numbers tell the node.
_EVENT_ID = (
    "((extract(epoch FROM clock_timestamp())::bigint - 1577836800) << 22)"
    " | ((nextval('sartiq_event_number') >> 48 & 63) << 16) | (nextval('sartiq_event_number') & 65535)"
)
_EVENT_IDS = (
    "CREATE SEQUENCE sartiq_event_number",
    f"ALTER TABLE {_EVENT} ALTER COLUMN id DROP IDENTITY IF EXISTS",
    f"ALTER TABLE {_EVENT} ALTER COLUMN id SET DEFAULT {_EVENT_ID}",
    f"ALTER SEQUENCE sartiq_event_number OWNED BY {_EVENT}.id",
)


def unique_indexes(connection: BaseDatabaseWrapper) -> list[UniqueIndex]:
    """Return the unique indexes that keep tables from being distributed."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT tables.relname, indexes.relname,
                ARRAY(SELECT attname::text FROM unnest(indkey::int2[]) WITH ORDINALITY AS part(number, place)
                    JOIN pg_attribute ON attrelid = indrelid AND attnum = part.number ORDER BY place)
            FROM pg_index
            JOIN pg_class AS tables ON tables.oid = indrelid
            JOIN pg_class AS indexes ON indexes.oid = indexrelid
            WHERE indisunique AND indrelid = ANY(%s::regclass[]) AND NOT EXISTS (
                SELECT FROM pg_attribute WHERE attrelid = indrelid AND attname = %s AND attnum = ANY(indkey)
            )
            """,
            [_by_task(), _KEY],
        )
        return [UniqueIndex(table, name, tuple(columns)) for table, name, columns in cursor.fetchall()]


def foreign_keys(connection: BaseDatabaseWrapper) -> list[tuple[str, str]]:
    """Return each foreign key to a table that is to be distributed, as its table and its name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint"
            " WHERE contype = 'f' AND confrelid = ANY(%s::regclass[]) ORDER BY 1, 2",
            [_by_task()],
        )
        return list(cursor.fetchall())


def _by_task() -> list[str]:
    return [table for table, place in places().items() if place is Place.BY_TASK]


def has_citus(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the extension is installed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'citus'")
        return cursor.fetchone() is not None


def placed(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Return the place of each table that Citus manages."""
    if not has_citus(connection):
        return {}
    with connection.cursor() as cursor:  # pragma: no cover (only Citus has pg_dist_partition)
        cursor.execute(
            "SELECT relname, CASE WHEN partmethod = 'h' THEN 'distributed'"
            " WHEN repmodel = 't' THEN 'reference' ELSE 'local' END"
            " FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid"
            " WHERE logicalrelid = to_regclass(quote_ident(relname))"
        )
        return dict(cursor.fetchall())


def fault(connection: BaseDatabaseWrapper) -> str | None:
    """Return why this node cannot distribute tables, or None."""
    if connection.vendor != "postgresql" or not has_citus(connection):
        return "Citus is not installed in this database: CREATE EXTENSION citus, and add its nodes."
    return fault_of_cluster(*_nodes(connection))  # pragma: no cover (only Citus has pg_dist_node)


def _nodes(connection: BaseDatabaseWrapper) -> tuple[int, int, int]:  # pragma: no cover (as above)
    """Return this node's group, and how many coordinators and how many nodes that take rows it knows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT groupid FROM pg_dist_local_group),"
            " count(*) FILTER (WHERE groupid = 0), count(*) FILTER (WHERE shouldhaveshards)"
            " FROM pg_dist_node WHERE isactive"
        )
        group, coordinators, others = cursor.fetchone()
    return group, coordinators, others


def fault_of_cluster(group: int, coordinators: int, others: int) -> str | None:
    """Return why a node cannot distribute tables, or None, by what ``_nodes()`` returns about it."""
    if group != 0:
        return "This is not the coordinator, from which tables are distributed."
    if not coordinators:
        return "The nodes do not know the coordinator: SELECT citus_set_coordinator_host('host', port)."
    return None if others else "No node takes rows: SELECT citus_add_node('host', port) for each."


def ledger_connection() -> Any:
    """Return the connection to the ledger's database."""
    return connections[router.db_for_write(TaskStatusEvent)]
