"""The tasks in the admin: the dashboard, and a page that tells all about one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from ..lifecycle import Meaning
from ..models import Task
from . import display, timeline, timeline_html
from .addresses import event_urls, unworded
from .base import RecordAdmin
from .filters import (
    ErrorCategoryFilter,
    LastHeardFilter,
    MeaningFilter,
    SilentFilter,
    TaskTypeFilter,
    ZoneFilter,
)
from .paginator import MAX_COUNT

#: A task's page tells so many events, the last ones received.
MAX_EVENTS = 1000
#: A page refreshes itself after so many seconds.
REFRESH_SECONDS = 5


@admin.register(Task)
class TaskAdmin(RecordAdmin):
    """The current state of each task."""

    change_form_template = "admin/sartiq_tasks/task_page.html"
    list_display = (
        "id_shown", "status_badge", "progress_shown", "type_shown", "entity_shown", "origin", "last_heard",
        "duration", "error",
    )  # fmt: skip
    list_filter = (
        MeaningFilter, SilentFilter, TaskTypeFilter, ZoneFilter, ErrorCategoryFilter, LastHeardFilter,
    )  # fmt: skip
    search_fields = ("task_id",)
    search_help_text = _("Searches for a task id or its beginning, or a whole entity id. Letter case counts.")
    ordering = ("-last_received_at", "task_id")
    sortable_by = ("last_heard",)
    export_columns = tuple(
        field.attname for field in Task._meta.concrete_fields if not field.attname.endswith("_order")
    )
    fields = ("task_id",)

    @admin.display(description=_("task id"))
    def id_shown(self, task: Task) -> str:
        """Return the id."""
        return display.shown(task.task_id)

    @admin.display(description=_("status"))
    def status_badge(self, task: Task) -> str:
        """Return the status as a badge."""
        return display.badge(task.status, Meaning(task.meaning))

    @admin.display(description=_("progress"))
    def progress_shown(self, task: Task) -> str:
        """Return the progress as a bar."""
        return display.progress_bar(task.progress, Meaning(task.meaning))

    @admin.display(description=_("type"))
    def type_shown(self, task: Task) -> str:
        """Return the task type."""
        return display.shown(task.task_type)

    @admin.display(description=_("entity"))
    def entity_shown(self, task: Task) -> str:
        """Return the entity's id."""
        return display.shown(task.entity_id)

    @admin.display(description=_("origin"))
    def origin(self, task: Task) -> str:
        """Return where it runs: zone and instance."""
        return " / ".join(filter(None, (task.origin_zone, task.origin_instance))) or display.EMPTY

    @admin.display(description=_("last heard of"), ordering="last_received_at")
    def last_heard(self, task: Task) -> str:
        """Return how long ago the last event was received."""
        return display.ago(task.last_received_at)

    @admin.display(description=_("duration"))
    def duration(self, task: Task) -> str:
        """Return how long it took, or has taken."""
        return display.duration(task.duration(timezone.now()))

    @admin.display(description=_("error"))
    def error(self, task: Task) -> str:
        """Return the error's first line, or its category."""
        return display.first_line(task.error_start) or display.shown(task.error_category)  # type: ignore[attr-defined]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the list under the counts of each meaning."""
        context = {"live_seconds": REFRESH_SECONDS, "counts": self.counts(request)}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def counts(self, request: HttpRequest) -> list[dict[str, Any]]:
        """Return the count of each meaning and of the silent tasks, each with the filter it leads to."""
        settings = app_settings()
        tasks: Any = self.get_queryset(request)
        counts = tasks.counts(cap=MAX_COUNT, silent_after=settings.silent_after, now=timezone.now())

        def count(name: str, label: Any, symbol: str, query: str) -> dict[str, Any]:
            number = counts[name]
            told = f"{MAX_COUNT}+" if number > MAX_COUNT else str(number)
            name_, _sep, value = query.partition("=")
            is_current = request.GET.get(name_) == value
            return {
                "name": name, "label": label, "symbol": symbol, "number": told, "query": query,
                "is_current": is_current,
            }  # fmt: skip

        shown = [
            count(meaning.value, meaning.label, display.SYMBOLS[meaning], f"meaning={meaning.value}")
            for meaning in Meaning
        ]
        return [*shown, count("silent", _("Silent"), "‖", "silent=1")]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show everything about a task."""
        response = super().change_view(request, unworded(object_id), form_url, extra_context)
        if isinstance(response, TemplateResponse):
            response.context_data = {
                **(response.context_data or {}),
                **self.page(request, response.context_data),
            }
        return response

    def page(self, request: Any, context: Any) -> dict[str, Any]:
        """Return what the page tells of the task in its context."""
        task, settings, now = context["original"], app_settings(), timezone.now()
        events = task.events.for_page()[:MAX_EVENTS]
        entries = timeline.timeline(events, settings)
        meaning = Meaning(task.meaning)
        site = self.admin_site.name
        events_allowed = request.user.has_perm("sartiq_tasks.view_taskstatusevent")
        list_url = reverse("admin:sartiq_tasks_taskstatusevent_changelist", current_app=site)
        return {
            "title": display.shown(task.task_id),
            "subtitle": None,
            "badge": display.badge(task.status, meaning),
            "progress_bar": display.progress_bar(task.progress, meaning),
            "facts": self.facts(task, now),
            "phases": [
                (display.badge(phase.status, phase.meaning), display.duration(phase.length))
                for phase in timeline.phases(entries, now)
            ],
            "plot": timeline.plot(entries),
            "plot_size": (timeline.WIDTH, timeline.HEIGHT),
            "rows": timeline_html.rows(entries, event_urls(site) if events_allowed else None),
            "events_allowed": events_allowed,
            "untold": max(task.event_count - len(entries), 0),
            "events_url": f"{list_url}?task_id={display.query(task.task_id)}",
            "live_seconds": None if meaning.is_terminal else REFRESH_SECONDS,
        }

    def facts(self, task: Task, now: Any) -> list[tuple[Any, Any]]:
        """Return the state, as names and values."""
        return [
            (_("Type"), display.shown(task.task_type)),
            (_("Entity"), display.shown(task.entity_id)),
            (_("Zone"), display.shown(task.origin_zone)),
            (_("Instance"), display.shown(task.origin_instance)),
            (_("Version"), display.shown(task.origin_version)),
            (_("Duration"), display.duration(task.duration(now))),
            (_("Started"), display.time_tag(task.started_at)),
            (_("Completed"), display.time_tag(task.completed_at)),
            (_("Status last reported"), display.time_tag(task.status_at)),
            (_("First event"), display.time_tag(task.first_event_at)),
            (_("Last event"), display.time_tag(task.last_event_at)),
            (_("Last heard of"), display.ago(task.last_received_at)),
            (_("Events"), task.event_count),
        ]
