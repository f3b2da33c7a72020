"""The ledger and the tasks in Django's admin: to be seen by staff, to be edited by nobody."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Task, TaskStatusEvent


class ReadOnly:
    """Nothing can be added, changed or deleted by hand, whatever the permissions."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False


class EventInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    """A task's events."""

    model = TaskStatusEvent
    fields = ("received_at", "timestamp", "event_type", "status", "progress", "deliveries")
    ordering = ("id",)
    show_change_link = True


@admin.register(Task)
class TaskAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """The current state of each task."""

    list_display = ("task_id", "status", "progress", "task_type", "entity_id", "last_received_at")
    list_filter = ("meaning", "status", "task_type")
    search_fields = ("task_id",)
    ordering = ("-last_received_at", "task_id")
    inlines = (EventInline,)
    exclude = tuple(field.name for field in Task._meta.fields if field.name.endswith("_order"))


@admin.register(TaskStatusEvent)
class TaskStatusEventAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """The ledger."""

    list_display = ("received_at", "timestamp", "task", "event_type", "status", "progress", "deliveries")
    list_filter = ("status", "task_type", "event_type")
    search_fields = ("task__task_id",)
    ordering = ("-id",)
    exclude = ("idempotency_key", "payload_digest")
