"""The ledger in the admin: what was received, to be seen and searched."""

from __future__ import annotations

from django.contrib import admin

from ..models import TaskStatusEvent
from .permissions import ReadOnly


@admin.register(TaskStatusEvent)
class TaskStatusEventAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """The ledger."""

    list_display = ("received_at", "timestamp", "task", "event_type", "status", "progress", "deliveries")
    list_filter = ("status", "task_type", "event_type")
    search_fields = ("task__task_id",)
    ordering = ("-id",)
    exclude = ("idempotency_key", "payload_digest")
