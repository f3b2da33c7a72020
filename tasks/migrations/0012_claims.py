from django.db import migrations


class Migration(migrations.Migration):
    """A claim reads the index of 0010 on handler and time."""

    dependencies = [("sartiq_tasks", "0011_lost_tasks")]

    operations = [migrations.RemoveIndex(model_name="reaction", name="sartiq_reaction_due")]
