"""The ledger in the admin: the stored events, to be read, searched and exported."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from ..lifecycle import meaning_of
from ..models import TaskStatusEvent
from . import display
from .addresses import event_url, task_url
from .base import Names, RecordAdmin
from .curl import copy_buttons
from .filters import ErrorCategoryFilter, EventTypeFilter, SourceFilter, StatusFilter, TaskTypeFilter
from .linked_filters import TaskFilter
from .original_body import payload_of
from .time_filters import EventTimeFilter, ReceivedFilter


@admin.register(TaskStatusEvent)
class TaskStatusEventAdmin(RecordAdmin):
    """The ledger."""

    change_form_template = "admin/sartiq_tasks/event_page.html"
    list_display: Names = (
        "received", "event_clock", "task_link", "event_type_shown", "status_badge", "progress_shown", "zone",
        "deliveries",
    )  # fmt: skip
    list_filter: ClassVar[Names] = (
        StatusFilter,
        ErrorCategoryFilter,
        TaskTypeFilter,
        EventTypeFilter,
        SourceFilter,
        ReceivedFilter,
        EventTimeFilter,
        TaskFilter,
    )
    search_fields: ClassVar[Names] = ("task_id",)
    search_help_text = _(
        "Finds events by the beginning of a task id, or by the whole id of the entity. Letter case matters."
    )
    ordering: ClassVar[Names] = ("-id",)
    sortable_by: ClassVar[Names] = ("received",)
    export_columns = tuple(
        field.attname
        for field in TaskStatusEvent._meta.concrete_fields
        if field.attname not in ("idempotency_key", "payload_digest")
    )
    fieldsets: ClassVar[Names] = (
        (
            _("What happened"),
            {
                "fields": (
                    ("task_link", "neighbours"),
                    ("status_badge", "progress_shown"),
                    "payload",
                    "event_type",
                    "task_type",
                    "entity_id",
                )
            },
        ),
        (_("When"), {"fields": ("event_time", "received", "started", "completed")}),
        (_("Error"), {"fields": ("error_category", "error_text")}),
        (_("Origin"), {"fields": ("origin_zone", "origin_instance", "origin_version")}),
        (_("More"), {"fields": ("metadata_json", "additional_json", "unknown_json")}),
        (_("Delivery"), {"fields": ("sender", "deliveries", "key_hex", "digest_hex")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: TaskStatusEvent | None = None) -> Any:
        """Fold the groups that have nothing to tell."""
        return [
            (title, {**options, "classes": ["collapse"]} if obj and self.is_empty(obj, options) else options)
            for title, options in super().get_fieldsets(request, obj)
        ]

    def is_empty(self, event: TaskStatusEvent, options: Any) -> bool:
        """Return whether none of a group's fields has a value."""
        names = flatten(options["fields"])
        shown = (getattr(self, name, None) or attrgetter(name) for name in names)
        return all(read(event) in (None, display.EMPTY) for read in shown)

    @admin.display(description=_("received"), ordering="id")
    def received(self, event: TaskStatusEvent) -> str:
        """Return when it was received."""
        return display.time_tag(event.received_at)

    @admin.display(description=_("event time"))
    def event_time(self, event: TaskStatusEvent) -> str:
        """Return the sender's timestamp."""
        return display.time_tag(event.timestamp)

    @admin.display(description=_("event time"))
    def event_clock(self, event: TaskStatusEvent) -> str:
        """Return the sender's timestamp: without its date if the event was received on that day, otherwise to
        the minute.
        """
        if event.timestamp is None:
            return display.EMPTY
        return display.time_tag_of_day(event.timestamp, event.received_at)

    @admin.display(description=_("started at"))
    def started(self, event: TaskStatusEvent) -> str:
        """Return when the task started, as the sender says."""
        return display.time_tag(event.started_at)

    @admin.display(description=_("completed at"))
    def completed(self, event: TaskStatusEvent) -> str:
        """Return when the task completed, as the sender says."""
        return display.time_tag(event.completed_at)

    @admin.display(description=_("task"))
    def task_link(self, event: TaskStatusEvent) -> str:
        """Return the task's id as a link to its page."""
        task_id = str(event.task_id)
        return display.link(task_url(task_id, self.admin_site.name), display.cut(display.shown(task_id)))

    @admin.display(description=_("in the order received"))
    def neighbours(self, event: TaskStatusEvent) -> str:
        """Return links to the events of the task that were received before and after it."""
        of_task = TaskStatusEvent.objects.using(event._state.db).filter(task_id=event.task_id)
        before = of_task.filter(pk__lt=event.pk).order_by("-pk").values_list("pk", flat=True).first()
        after = of_task.filter(pk__gt=event.pk).order_by("pk").values_list("pk", flat=True).first()
        told = ((_("← previous"), before), (_("next →"), after))
        links = [(event_url(pk, self.admin_site.name), name) for name, pk in told if pk is not None]
        found = format_html_join("", '<a href="{}">{}</a>', links)
        return format_html('<span class="st-neighbours">{}</span>', found) if links else display.EMPTY

    @admin.display(description=_("event type"))
    def event_type_shown(self, event: TaskStatusEvent) -> str:
        """Return the event type."""
        return display.cut(display.shown(event.event_type))

    @admin.display(description=_("status"))
    def status_badge(self, event: TaskStatusEvent) -> str:
        """Return the status as a badge."""
        return display.badge(event.status)

    @admin.display(description=_("progress"))
    def progress_shown(self, event: TaskStatusEvent) -> str:
        """Return the progress as a bar."""
        return display.progress_bar(event.progress, meaning_of(event.status, app_settings()))

    @admin.display(description=_("zone"))
    def zone(self, event: TaskStatusEvent) -> str:
        """Return the origin zone."""
        return display.cut(display.shown(event.origin_zone))

    @admin.display(description=_("error message"))
    def error_text(self, event: TaskStatusEvent) -> str:
        """Return the error message in full."""
        return display.text_block(event.error_message)

    @admin.display(description=_("metadata"))
    def metadata_json(self, event: TaskStatusEvent) -> str:
        """Return the metadata, indented."""
        return display.pretty_json(event.metadata)

    @admin.display(description=_("additional properties"))
    def additional_json(self, event: TaskStatusEvent) -> str:
        """Return the additional properties, indented."""
        return display.pretty_json(event.additional_properties)

    @admin.display(description=_("unknown fields"))
    def unknown_json(self, event: TaskStatusEvent) -> str:
        """Return the fields that were sent beyond the schema, indented."""
        return display.pretty_json(event.unknown_fields)

    @admin.display(description=_("sender"))
    def sender(self, event: TaskStatusEvent) -> str:
        """Return the client that sent it."""
        return display.shown(event.source)

    @admin.display(description=_("idempotency key"))
    def key_hex(self, event: TaskStatusEvent) -> str:
        """Return the key as text if it is printable ASCII, otherwise in hexadecimal digits."""
        key = bytes(event.idempotency_key)
        return key.decode() if key.isascii() and key.decode().isprintable() else key.hex()

    @admin.display(description=_("payload digest"))
    def digest_hex(self, event: TaskStatusEvent) -> str:
        """Return the SHA-256 of the body as it was sent."""
        return bytes(event.payload_digest).hex()

    @admin.display(description=_("what was sent"))
    def payload(self, event: TaskStatusEvent) -> str:
        """Return the body, to read and to copy, and whether that is what was sent."""
        payload = payload_of(event)
        return format_html(
            '<pre id="payload" class="st-text st-payload" tabindex="0">{}</pre><p class="help">{}</p>{}',
            payload.indented,
            _("This is what was sent, with sorted keys and line breaks: the payload digest proves it.")
            if payload.is_as_sent
            else _(
                "Rebuilt from the stored columns. It is not byte-for-byte what was sent: the digests differ."
            ),
            copy_buttons(payload.text),
        )
