from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sartiq_tasks", "0014_event_source")]

    operations = [
        migrations.AddIndex(
            model_name="reaction",
            index=models.Index(
                condition=models.Q(("started_at__isnull", False), ("state", "pending")),
                fields=["task", "handler"],
                name="sartiq_reaction_runs",
            ),
        ),
    ]
