"""The tasks in the admin: their list with its counts, and the page of one task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from ..conf import app_settings
from ..lifecycle import Meaning
from ..models import Task
from ..ops.headline import headline
from ..querysets.text import may_be_stored
from . import display, history, task_facts, task_reactions, task_rows, task_silence, timeline
from .addresses import event_urls, row_id, task_url, without_placeholder
from .base import Names, RecordAdmin
from .filters import ErrorCategoryFilter, MeaningFilter, SilentFilter, TaskTypeFilter, ZoneFilter
from .linked_filters import EntityFilter, FailureFilter, InstanceFilter, VersionFilter
from .paginator import MAX_COUNT
from .plots import plots
from .time_filters import LastEventFilter, LastHeardFilter

#: The lengths in the files, in seconds.
_LENGTHS: Mapping[str, Callable[[Task], timedelta | None]] = {
    "queued_seconds": lambda task: task.waited,
    "ran_seconds": lambda task: task.first_run,
    "elapsed_seconds": lambda task: task.duration(timezone.now()),
}


@admin.register(Task)
class TaskAdmin(RecordAdmin):
    """The current state of each task."""

    change_form_template = "admin/sartiq_tasks/task_page.html"
    list_display: Names = (
        "id_shown", "status_badge", "progress_shown", "type_shown", "entity_shown", "origin", "last_heard",
        "elapsed", "error",
    )  # fmt: skip
    list_filter: ClassVar[Names] = (
        MeaningFilter, SilentFilter, TaskTypeFilter, ZoneFilter, ErrorCategoryFilter, LastHeardFilter,
        LastEventFilter, EntityFilter, InstanceFilter, VersionFilter, FailureFilter,
    )  # fmt: skip
    search_fields: ClassVar[Names] = ("task_id",)
    search_help_text = _(
        "Finds tasks by the beginning of a task id or by a whole entity id. If none matches, or after a *, "
        "searches the last 10,000 tasks for any part of an id, entity, instance or error, in any letter case."
    )
    ordering: ClassVar[Names] = ("-last_received_at", "task_id")
    sortable_by: ClassVar[Names] = ("last_heard", "progress_shown", "elapsed")
    sorted_in_newest = ("progress_shown", "elapsed")
    actions: Names = ("ask_now", "mark_as_lost", "mark_as_not_lost")
    export_columns = (
        *(field.attname for field in Task._meta.concrete_fields if not field.attname.endswith("_order")),
        *_LENGTHS,
    )
    fields: ClassVar[Names] = ("task_id",)

    @admin.display(description=_("task id"))
    def id_shown(self, task: Task) -> str:
        """Return the id."""
        return display.cut(display.shown(task.task_id))

    @admin.display(description=_("status"))
    def status_badge(self, task: Task) -> str:
        """Return the status as a badge."""
        says_ended = hasattr(task, "said_to_have_ended")
        return display.task_badge(task, timezone.now(), says_ended=says_ended)

    @admin.display(description=_("progress"), ordering="progress")
    def progress_shown(self, task: Task) -> str:
        """Return the progress as a bar."""
        return display.progress_bar(task.progress, Meaning(task.meaning))

    @admin.display(description=_("type"))
    def type_shown(self, task: Task) -> str:
        """Return the task type."""
        return display.cut(display.shown(task.task_type))

    @admin.display(description=_("entity"))
    def entity_shown(self, task: Task) -> str:
        """Return the entity's id."""
        return display.cut(display.shown(task.entity_id))

    @admin.display(description=_("origin"))
    def origin(self, task: Task) -> str:
        """Return where it runs: instance and zone."""
        return display.cut(
            " / ".join(filter(None, (task.origin_instance, task.origin_zone))) or display.EMPTY
        )

    @admin.display(description=_("last heard from"), ordering="last_received_at")
    def last_heard(self, task: Task) -> str:
        """Return how long ago the last event was received."""
        return display.ago(task.last_received_at)

    @admin.display(description=_("elapsed"), ordering=task_rows.DURATION)
    def elapsed(self, task: Task) -> str:
        """Return how long it took, with its end on hover, or how long it has taken."""
        return task_rows.elapsed(task, timezone.now())

    @admin.display(description=_("error"))
    def error(self, task: Any) -> str:
        """Return the error's headline, or its category."""
        return display.line(headline(task.error_start, task.error_end) or task.error_category)

    def found(self, request: HttpRequest, rows: Any, term: str) -> Any:
        """Return the tasks that a search for ``term`` finds: for the list, and once more for its counts."""
        return rows.filter(task_rows.found_once(request, rows, term))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the list under the counts of each meaning."""
        response = super().changelist_view(
            request, {"live_seconds": task_facts.REFRESH_SECONDS, **(extra_context or {})}
        )
        context = getattr(response, "context_data", None) or {}
        if "cl" in context:
            task_silence.note_those_that_probably_ended(context["cl"].result_list)
            context["counts"] = self.counts(request, context["cl"])
            context["counts_title"] = _("Tasks by status")
            context["count_links"] = display.count_links(context["counts"])
            context["wider"] = task_rows.wider(request, context["cl"])
        return response

    def exported(self, row: Any, column: str) -> Any:
        """Return the task's value of a column of the files."""
        if column in _LENGTHS:
            length = _LENGTHS[column](row)
            return None if length is None else length.total_seconds()
        return super().exported(row, column)

    def counts(self, request: HttpRequest, shown: Any) -> list[dict[str, Any]]:
        """Return the count of each meaning, and of silent and lost tasks, among those that the list's other
        filters and its search leave, each with the address that it leads to.
        """
        own = (MeaningFilter, SilentFilter)
        if shown.shows_all_but_for(own):
            counts = task_rows.counts(shown.result_list, timezone.now())
        else:
            counts = shown.rows_but_for(request, own).counts(cap=MAX_COUNT, now=timezone.now())

        def count(name: str, label: Any, symbol: str, parameter: str, value: str) -> dict[str, Any]:
            number = counts[name]
            is_current = request.GET.get(parameter) == value
            chosen = {
                **dict.fromkeys(str(one.parameter_name) for one in own),
                parameter: None if is_current else value,
            }
            return {
                "id": f"st-count-{name}", "name": name, "label": label, "symbol": symbol,
                "is_current": is_current,
                "number": f"{MAX_COUNT}+" if number > MAX_COUNT else str(number),
                "url": shown.get_query_string(chosen),
            }  # fmt: skip

        return [
            *(
                count(meaning.value, meaning.label, display.SYMBOLS[meaning], "meaning", meaning.value)
                for meaning in Meaning
            ),
            {
                **count("silent", display.SILENT_NAME, display.SILENT_SYMBOL, "silent", "1"),
                "before": _("of these:"),
            },
            count("lost", display.LOST_NAME, display.LOST_SYMBOL, "silent", "lost"),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show everything about a task."""
        response = super().change_view(request, without_placeholder(object_id), form_url, extra_context)
        if isinstance(response, TemplateResponse):
            response.context_data = {
                **(response.context_data or {}),
                **self.page(request, response.context_data),
            }
        return response

    def page(self, request: HttpRequest, context: Any) -> dict[str, Any]:
        """Return the context of the task's page."""
        task = context["original"]
        list_url = reverse("admin:sartiq_tasks_taskstatusevent_changelist", current_app=self.admin_site.name)
        before = row_id(request.GET.get("before"))
        return {
            **task_facts.context(task, self.admin_site.name),
            **task_facts.rejected(task, request, self.admin_site.name),
            **self.history(request, task),
            **task_silence.context(task, request),
            "silence_url": f"{task_url(task.pk, self.admin_site.name).removesuffix('change/')}silence/",
            **task_reactions.context(task, request, self.admin_site.name),
            "title": display.shown(task.task_id),
            "subtitle": None,
            "timeline": history.page_before(task, before, app_settings(), self.event_urls(request)),
            **({} if before is None else {"is_older": True, "live_seconds": None}),
            "events_allowed": self.event_urls(request) is not None,
            "events_url": f"{list_url}?task_id={display.query(task.task_id)}",
        }

    def history(self, request: HttpRequest, task: Task) -> dict[str, Any]:
        """Return the context for the task's events, except for the timeline."""
        told, urls = history.history(task, app_settings()), self.event_urls(request)
        drawn = plots(told.drawn, told.metadata)
        latest = told.latest
        return {
            "plots": drawn,
            "plot_ends": drawn and (display.exact(drawn.start), display.exact(drawn.end)),
            "plot_rows": [(row.x, display.clock(row.at), row.values) for row in drawn.rows] if drawn else [],
            "drawn": len(told.drawn) if len(told.drawn) < task.event_count else None,
            "latest": latest,
            "latest_at": latest and display.time_tag(latest.at),
            "latest_url": latest and urls and urls(latest.event.pk),
            "latest_is_large": latest and latest.event.pk not in told.metadata,
            "metadata": latest and display.pretty_json(told.metadata.get(latest.event.pk), "st-metadata"),
            "phases": [
                (display.badge(phase.status, phase.meaning), display.duration(phase.length))
                for phase in timeline.phases(told.whole or [], timezone.now())
            ],
        }

    def event_urls(self, request: HttpRequest) -> Callable[[int], str] | None:
        """Return the function that gives the addresses of events, or None if the user may not see them."""
        may_see = request.user.has_perm("sartiq_tasks.view_taskstatusevent")
        return event_urls(self.admin_site.name) if may_see else None

    def get_urls(self) -> list[URLPattern]:
        """Add the parts of a page that it fetches, and what its buttons do."""
        wrap = self.admin_site.admin_view
        return [
            path("<path:object_id>/part/", wrap(self.part_view), name="sartiq_tasks_task_part"),
            path("<path:object_id>/silence/", wrap(require_POST(self.silence_view))),
            *super().get_urls(),
        ]

    def silence_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Do what a button of a silent or lost task's page asks for."""
        task = self.get_object(request, unquote(without_placeholder(object_id)))
        if task is None:
            raise Http404
        return task_silence.of_page(self, request, task)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """Return the actions, in the lists of silent and of lost tasks alone."""
        if SilentFilter.parameter_name not in request.GET:
            return {}
        # Django 6.1 says whether it asks for a list's actions or a page's; older ones know a list's alone.
        located = {} if action_location is None else {"action_location": action_location}
        return super().get_actions(request, **located)

    def get_ordering(self, request: HttpRequest) -> Any:
        """Return the order: of the silent and lost ones the longest silent first."""
        if SilentFilter.parameter_name in request.GET:
            return ("last_received_at", "task_id")
        return super().get_ordering(request)

    def has_ask_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may have the cluster asked, if it can be."""
        return task_silence.may_ask(request)

    def has_mark_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may mark tasks as lost, and take the mark back."""
        return bool(request.user.has_perm(task_silence.MARK))

    def may_be_id(self, text: str) -> bool:
        """Return whether it can be a task's id."""
        return may_be_stored(text)

    @admin.action(description=_("Ask now"), permissions=["ask"])
    def ask_now(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Have the watchdog ask about the selected tasks at once."""
        return task_silence.of_list(self, request, queryset, "ask_now")

    @admin.action(description=_("Mark as lost"), permissions=["mark"])
    def mark_as_lost(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Mark the selected tasks as lost."""
        return task_silence.of_list(self, request, queryset, "mark_as_lost")

    @admin.action(description=_("Not lost"), permissions=["mark"])
    def mark_as_not_lost(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Take the marks of the selected tasks back."""
        return task_silence.of_list(self, request, queryset, "mark_as_not_lost")

    def part_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return a part of a task's page: with ``before`` the events before that id, otherwise the state
        and the events after the id ``after``, told from ``since``, where the page's newest block begins.
        """
        task = self.get_object(request, unquote(without_placeholder(object_id)))
        if task is None:
            raise Http404
        if not self.has_view_permission(request, task):
            raise PermissionDenied
        before, since, after = (row_id(request.GET.get(name)) for name in ("before", "since", "after"))
        settings, urls = app_settings(), self.event_urls(request)
        context: dict[str, Any] = {"original": task}
        if before is not None:
            context["timeline"] = history.page_before(task, before, settings, urls)
        else:
            site = self.admin_site.name
            reactions = task_reactions.context(task, request, site)
            context |= task_facts.context(task, site) | task_silence.context(task, request) | reactions
            new = history.page_since(task, since or 0, after or 0, settings, urls)
            if new is not None:
                context |= {**self.history(request, task), "timeline": new, "has_new": True}
        return TemplateResponse(request, "admin/sartiq_tasks/task_part.html", context)
