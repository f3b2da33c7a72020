from django.db import migrations, models

# As with events (0002): the times grow with the table.
FORWARDS = """
CREATE INDEX sartiq_reaction_created ON sartiq_tasks_reaction
USING brin (created_at) WITH (autosummarize = on)
"""
BACKWARDS = "DROP INDEX sartiq_reaction_created"


def _run(sql):
    def operation(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(sql)

    return operation


class Migration(migrations.Migration):
    dependencies = [("sartiq_tasks", "0009_handlers")]

    operations = [
        migrations.AddIndex(
            model_name="reaction",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["handler", "due_at"],
                name="sartiq_reaction_waits",
            ),
        ),
        migrations.AddIndex(
            model_name="reaction",
            index=models.Index(fields=["handler", "id"], name="sartiq_reaction_handler"),
        ),
        migrations.AddIndex(
            model_name="reaction",
            index=models.Index(
                condition=models.Q(("state__in", ("dead", "skipped"))),
                fields=["state", "id"],
                name="sartiq_reaction_ended",
            ),
        ),
        migrations.RunPython(_run(FORWARDS), _run(BACKWARDS)),
    ]
