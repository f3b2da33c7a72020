"""Rejected deliveries in the admin: what was sent, what was wrong with it, and another try."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from rest_framework.exceptions import APIException

from ..models import RejectedDelivery
from ..rejections import field_of, try_again
from ..serializers import task_status_event
from .body_marks import marked
from .permissions import ReadOnly

#: Every type of error there is: asking the table for those that it has would read it whole.
ERROR_TYPES = (
    "body_too_large", "datetime_from_date_parsing", "datetime_type", "dict_type", "float_type",
    "greater_than_equal", "int_type", "json_invalid", "less_than_equal", "missing",
    "model_attributes_type", "string_too_long", "string_type", "unsupported_media_type",
)  # fmt: skip


class FieldFilter(admin.SimpleListFilter):
    """By the field that was wrong."""

    title = _("field")
    parameter_name = "field"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the fields of the schema, and the body as a whole."""
        return [(name, name) for name in ("body", *task_status_event.fields)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the deliveries in which it was wrong."""
        return queryset.filter(faults__contains=f" {self.value()}:") if self.value() else queryset


class ErrorTypeFilter(admin.SimpleListFilter):
    """By the type of error."""

    title = _("error type")
    parameter_name = "error_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the types that there are."""
        return [(name, name) for name in ERROR_TYPES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the deliveries that have such an error."""
        return queryset.filter(faults__contains=f":{self.value()} ") if self.value() else queryset


@admin.register(RejectedDelivery)
class RejectedDeliveryAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Rejected deliveries."""

    list_display = ("received_at", "source", "status", "faults", "not_kept", "accepted_at")
    list_filter = ("status", FieldFilter, ErrorTypeFilter, ("accepted_at", admin.EmptyFieldListFilter))
    ordering = ("-received_at", "-id")
    show_full_result_count = False
    actions = ("try_again",)
    fields = (
        "received_at", "source", "status", "accepted_at", "not_kept", "what_was_wrong", "what_was_sent",
        "sent_headers",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[RejectedDelivery]:
        """Leave the bodies out until one is looked at."""
        return super().get_queryset(request).defer("body", "errors", "headers")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may have deliveries tried again."""
        return bool(request.user.has_perm("sartiq_tasks.retry_rejecteddelivery"))

    @admin.display(description=_("what was wrong"))
    def what_was_wrong(self, rejected: RejectedDelivery) -> SafeString:
        """Return a line for each error."""
        lines = ((field_of(error), error["msg"], error["type"]) for error in rejected.errors)
        return format_html("<ul>{}</ul>", format_html_join("", "<li><b>{}</b>: {} ({})</li>", lines))

    @admin.display(description=_("what was sent"))
    def what_was_sent(self, rejected: RejectedDelivery) -> SafeString:
        """Return the body with the failing places marked."""
        return marked(bytes(rejected.body), rejected.errors)

    @admin.display(description=_("headers"))
    def sent_headers(self, rejected: RejectedDelivery) -> SafeString:
        """Return a line for each header that was kept."""
        return format_html_join("", "{}: {}<br>", rejected.headers.items())

    @admin.action(description=_("Try again"), permissions=["retry"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[RejectedDelivery]) -> None:
        """Validate and record the selected deliveries again."""
        accepted = still_rejected = 0
        for rejected in queryset.defer(None).iterator(chunk_size=50):
            try:
                try_again(rejected)
            except APIException:
                still_rejected += 1
            else:
                accepted += 1
                self.log_change(request, rejected, "Tried again and accepted.")
        if accepted:
            text = ngettext("%d delivery was accepted.", "%d deliveries were accepted.", accepted)
            self.message_user(request, text % accepted, messages.SUCCESS)
        if still_rejected:
            text = ngettext(
                "%d delivery is still rejected: see what is wrong with it.",
                "%d deliveries are still rejected: see what is wrong with them.",
                still_rejected,
            )
            self.message_user(request, text % still_rejected, messages.WARNING)
