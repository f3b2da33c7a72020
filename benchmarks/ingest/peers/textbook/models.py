"""The table of the textbook peer."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models


class Event(models.Model):
    task_id = models.CharField(max_length=255, db_index=True)
    event_type = models.CharField(max_length=255)
    status = models.CharField(max_length=255, null=True)
    entity_id = models.CharField(max_length=255, null=True)
    origin_instance = models.CharField(max_length=255, null=True)
    origin_zone = models.CharField(max_length=255, null=True)
    origin_version = models.CharField(max_length=255, null=True)
    timestamp = models.DateTimeField(null=True)
    metadata = models.JSONField(null=True)
    progress = models.FloatField(validators=[MinValueValidator(0), MaxValueValidator(100)])
    error_message = models.TextField(null=True)
    error_category = models.CharField(max_length=255, null=True)
    completed_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    task_type = models.CharField(max_length=255)
    additional_properties = models.JSONField(default=dict)
    received_at = models.DateTimeField(auto_now_add=True)
    source = models.CharField(max_length=255, editable=False)

    class Meta:
        app_label = "textbook"

    def __str__(self) -> str:
        return f"{self.task_id}: {self.event_type}"
