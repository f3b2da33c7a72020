from django.db import migrations, models

from ..database.operations import AddIndexBesideWriters, RemoveIndexBesideWriters


class Migration(migrations.Migration):
    """Let two indexes of the tasks serve a second filter each, and find events by their own time."""

    atomic = False
    dependencies = [("sartiq_tasks", "0015_running_reactions")]

    operations = [
        RemoveIndexBesideWriters("task", "sartiq_task_type"),
        RemoveIndexBesideWriters("task", "sartiq_task_zone"),
        AddIndexBesideWriters(
            "task", models.Index(fields=["task_type", "origin_version"], name="sartiq_task_type")
        ),
        AddIndexBesideWriters(
            "task", models.Index(fields=["origin_zone", "origin_instance"], name="sartiq_task_zone")
        ),
        AddIndexBesideWriters(
            "taskstatusevent",
            models.Index(
                fields=["timestamp", "id"],
                name="sartiq_event_time",
                condition=models.Q(timestamp__isnull=False),
            ),
        ),
    ]
