"""PostgreSQL's physical layout, which the models cannot say.

- Every unique key begins with ``task_id``, the primary keys too: the event's becomes
  (task_id, id), with a unique index on the id, for looking it up and for foreign keys of the host.
- ``task_id`` compares as bytes (collation "C"): faster in every index, and the primary key serves
  prefix searches, so that Django's extra ``_like`` index goes.
- Rows of tasks are updated with every event: room on the page for the next version.
- ``received_at`` grows with the table, so that a BRIN index of some kilobytes does for it.
"""

from django.db import migrations

EVENT = "sartiq_tasks_taskstatusevent"
TASK = "sartiq_tasks_task"

FORWARDS = f"""
ALTER TABLE {TASK} ALTER COLUMN task_id TYPE varchar(255) COLLATE "C";
ALTER TABLE {EVENT} ALTER COLUMN task_id TYPE varchar(255) COLLATE "C";
ALTER TABLE {EVENT} DROP CONSTRAINT {EVENT}_pkey;
ALTER TABLE {EVENT} DROP CONSTRAINT sartiq_event_task_id;
ALTER TABLE {EVENT} ADD CONSTRAINT sartiq_event_task_id PRIMARY KEY (task_id, id);
CREATE UNIQUE INDEX sartiq_event_id ON {EVENT} (id);
CREATE INDEX sartiq_event_received ON {EVENT} USING brin (received_at) WITH (autosummarize = on);
ALTER TABLE {TASK} SET (fillfactor = 80);
"""
BACKWARDS = f"""
ALTER TABLE {TASK} RESET (fillfactor);
DROP INDEX sartiq_event_received;
DROP INDEX sartiq_event_id;
ALTER TABLE {EVENT} DROP CONSTRAINT sartiq_event_task_id;
ALTER TABLE {EVENT} ADD CONSTRAINT sartiq_event_task_id UNIQUE (task_id, id);
ALTER TABLE {EVENT} ADD CONSTRAINT {EVENT}_pkey PRIMARY KEY (id);
ALTER TABLE {EVENT} ALTER COLUMN task_id TYPE varchar(255);
ALTER TABLE {TASK} ALTER COLUMN task_id TYPE varchar(255);
"""


def _run(sql):
    def operation(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            # DDL after deferred constraint checks of the same transaction needs those done first.
            schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            if sql is FORWARDS:
                _drop_like_index(schema_editor)
            schema_editor.execute(sql)

    return operation


def _drop_like_index(schema_editor):
    with schema_editor.connection.cursor() as cursor:
        # By the table that the search path finds, as the statements above: other schemas may have their own.
        cursor.execute(
            "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE indrelid = %s::regclass AND relname LIKE %s",
            [TASK, "%\\_like"],
        )
        for (name,) in cursor.fetchall():
            schema_editor.execute(f"DROP INDEX {name}")


class Migration(migrations.Migration):
    """See the module's docstring."""

    dependencies = [("sartiq_tasks", "0001_initial")]

    operations = [migrations.RunPython(_run(FORWARDS), _run(BACKWARDS))]
