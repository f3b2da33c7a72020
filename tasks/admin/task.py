"""The tasks in the admin: the dashboard, and a page for each."""

from __future__ import annotations

from django.contrib import admin

from ..models import Task, TaskStatusEvent
from .permissions import ReadOnly


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
