"""PostgreSQL's physical layout, which the models cannot say.

- Every unique key begins with ``task_id``, the primary keys too: the event's becomes (task_id, id), with
  a unique index on the id, for looking it up and for foreign keys of the host. The reaction's becomes
  what makes it unique.
- A task's id compares as bytes (collation "C"): faster in every index, and the primary key serves
  prefix searches, so that Django's extra ``_like`` indexes go.
- Rows of tasks are updated with every event: room on the page for the next version.
- ``received_at`` and ``created_at`` grow with their tables, so that BRIN indexes of some kilobytes do.
- PostgreSQL reads a check from its text at every statement: each is short, its bounds of the column's type.
"""

from django.db import migrations

EVENT = "sartiq_tasks_taskstatusevent"
TASK = "sartiq_tasks_task"
REACTION = "sartiq_tasks_reaction"
SILENCE = "sartiq_tasks_silence"
REJECTED = "sartiq_tasks_rejecteddelivery"

FORWARDS = f"""
ALTER TABLE {TASK} ALTER COLUMN task_id TYPE varchar(255) COLLATE "C";
ALTER TABLE {EVENT} ALTER COLUMN task_id TYPE varchar(255) COLLATE "C";
ALTER TABLE {REACTION} ALTER COLUMN task_id TYPE varchar(255) COLLATE "C";
ALTER TABLE {SILENCE} ALTER COLUMN task_id TYPE varchar(255) COLLATE "C";
ALTER TABLE {REJECTED} ALTER COLUMN named_task TYPE varchar(255) COLLATE "C";
ALTER TABLE {EVENT} DROP CONSTRAINT {EVENT}_pkey;
ALTER TABLE {EVENT} DROP CONSTRAINT sartiq_event_task_id;
ALTER TABLE {EVENT} ADD CONSTRAINT sartiq_event_task_id PRIMARY KEY (task_id, id);
CREATE UNIQUE INDEX sartiq_event_id ON {EVENT} (id);
CREATE INDEX sartiq_event_received ON {EVENT} USING brin (received_at) WITH (autosummarize = on);
ALTER TABLE {REACTION} DROP CONSTRAINT {REACTION}_pkey;
ALTER TABLE {REACTION} DROP CONSTRAINT sartiq_reaction_once;
ALTER TABLE {REACTION} ADD CONSTRAINT sartiq_reaction_once PRIMARY KEY (task_id, handler, seq, kind);
CREATE INDEX sartiq_reaction_id ON {REACTION} (id);
CREATE INDEX sartiq_reaction_created ON {REACTION} USING brin (created_at) WITH (autosummarize = on);
ALTER TABLE {TASK} SET (fillfactor = 80);
ALTER TABLE {EVENT} DROP CONSTRAINT sartiq_event_progress, ADD CONSTRAINT sartiq_event_progress
    CHECK (progress >= '0'::double precision AND progress <= '100'::double precision);
ALTER TABLE {TASK} DROP CONSTRAINT sartiq_task_progress, ADD CONSTRAINT sartiq_task_progress
    CHECK (progress >= '0'::double precision AND progress <= '100'::double precision);
ALTER TABLE {TASK} DROP CONSTRAINT sartiq_task_lost_whole, ADD CONSTRAINT sartiq_task_lost_whole
    CHECK ((lost_at IS NULL) = (lost_events IS NULL));
"""
BACKWARDS = f"""
ALTER TABLE {TASK} DROP CONSTRAINT sartiq_task_lost_whole, ADD CONSTRAINT sartiq_task_lost_whole
    CHECK (lost_at IS NULL AND lost_events IS NULL OR lost_at IS NOT NULL AND lost_events IS NOT NULL);
ALTER TABLE {TASK} DROP CONSTRAINT sartiq_task_progress, ADD CONSTRAINT sartiq_task_progress
    CHECK (progress >= 0.0 AND progress <= 100.0);
ALTER TABLE {EVENT} DROP CONSTRAINT sartiq_event_progress, ADD CONSTRAINT sartiq_event_progress
    CHECK (progress >= 0.0 AND progress <= 100.0);
ALTER TABLE {TASK} RESET (fillfactor);
DROP INDEX sartiq_reaction_created;
DROP INDEX sartiq_reaction_id;
ALTER TABLE {REACTION} DROP CONSTRAINT sartiq_reaction_once;
ALTER TABLE {REACTION} ADD CONSTRAINT sartiq_reaction_once UNIQUE (task_id, handler, seq, kind);
ALTER TABLE {REACTION} ADD CONSTRAINT {REACTION}_pkey PRIMARY KEY (id);
DROP INDEX sartiq_event_received;
DROP INDEX sartiq_event_id;
ALTER TABLE {EVENT} DROP CONSTRAINT sartiq_event_task_id;
ALTER TABLE {EVENT} ADD CONSTRAINT sartiq_event_task_id UNIQUE (task_id, id);
ALTER TABLE {EVENT} ADD CONSTRAINT {EVENT}_pkey PRIMARY KEY (id);
ALTER TABLE {REJECTED} ALTER COLUMN named_task TYPE varchar(255);
ALTER TABLE {SILENCE} ALTER COLUMN task_id TYPE varchar(255);
ALTER TABLE {REACTION} ALTER COLUMN task_id TYPE varchar(255);
ALTER TABLE {EVENT} ALTER COLUMN task_id TYPE varchar(255);
ALTER TABLE {TASK} ALTER COLUMN task_id TYPE varchar(255);
"""


def _run(sql):
    def operation(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            # DDL after deferred constraint checks of the same transaction needs those done first.
            schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            if sql is FORWARDS:
                _drop_like_indexes(schema_editor)
            schema_editor.execute(sql)

    return operation


def _drop_like_indexes(schema_editor):
    with schema_editor.connection.cursor() as cursor:
        # By the tables that the search path finds, as the statements above: other schemas may have their own.
        cursor.execute(
            "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE indrelid IN (%s::regclass, %s::regclass) AND relname LIKE %s",
            [TASK, SILENCE, "%\\_like"],
        )
        for (name,) in cursor.fetchall():
            schema_editor.execute(f"DROP INDEX {name}")


class Migration(migrations.Migration):
    """See the module's docstring."""

    dependencies = [("sartiq_tasks", "0001_initial")]

    operations = [migrations.RunPython(_run(FORWARDS), _run(BACKWARDS))]
