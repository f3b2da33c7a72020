"""What a handler and a task update."""

from django.db import models


class Effect(models.Model):
    """A row for each task."""

    task_id = models.CharField(max_length=255, primary_key=True)
    times = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.task_id}: {self.times}"
