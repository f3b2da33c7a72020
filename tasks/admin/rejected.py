"""Rejected deliveries in the admin: the bodies, their faults, and the button that tries them again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import BinaryField, Count, QuerySet, Sum
from django.db.models.functions import Substr
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST
from rest_framework.exceptions import APIException

from ..conf import app_settings
from ..lifecycle import Meaning
from ..models import RejectedDelivery
from ..rejections import field_of, try_again
from ..serializers import task_status_event
from . import display
from .base import RecordAdmin
from .body_marks import marked
from .filters import Filter, LinkedFilter, SourceFilter
from .paginator import MAX_COUNT
from .time_filters import ReceivedFilter

#: Every type of error there is: asking the table for those that it has would read it whole.
ERROR_TYPES = (
    "body_too_large", "datetime_from_date_parsing", "datetime_type", "dict_type", "float_type",
    "greater_than_equal", "int_type", "json_invalid", "less_than_equal", "missing",
    "model_attributes_type", "string_too_long", "string_type", "unsupported_media_type",
)  # fmt: skip

#: The longest body, in bytes, in which the list looks for the task.
LONGEST_READ = 10_000
#: The number of faults that are counted above the list, the most frequent first.
MAX_GROUPS = 12
_NOT_LISTED = ("body", "errors", "headers")


class RejectedSourceFilter(SourceFilter):
    """By the client that sent it."""

    def found(self, queryset: Any, value: str) -> Any:
        """Return the client's deliveries."""
        return queryset.filter(source=value)


class AnswerFilter(Filter):
    """By the status of the answer."""

    title = _("answer")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return what a delivery is rejected with."""
        return [
            ("413", _("413, too large")),
            ("415", _("415, not declared as JSON")),
            ("422", _("422, invalid")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the deliveries with that answer."""
        answers = [answer for answer, _title in self.lookup_choices]
        value = self.value()
        return queryset if value is None else queryset.filter(status__in={value}.intersection(answers))


class OutcomeFilter(Filter):
    """By whether it was accepted when it was tried again."""

    title = _("tried again")
    parameter_name = "accepted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return both outcomes."""
        return [("yes", _("Accepted since")), ("no", _("Still rejected"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the deliveries with that outcome."""
        if self.value() not in ("yes", "no"):
            return queryset if self.value() is None else queryset.none()
        return queryset.filter(accepted_at__isnull=self.value() == "no")


class FaultFilter(Filter):
    """By a part of the faults. The choices are fixed, because looking for them would read the whole table."""

    names: ClassVar[Iterable[str]]
    #: How a name stands in the column.
    written: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the names there are."""
        return [(name, name) for name in self.names]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the deliveries with the chosen one."""
        value = self.value()
        if value is None:
            return queryset
        if value not in self.names:
            return queryset.none()
        return queryset.filter(faults__contains=self.written.format(value))


class FieldFilter(FaultFilter):
    """By the field that was wrong."""

    title = _("field")
    parameter_name = "field"
    names = ("body", *map(str, task_status_event.fields))
    written = " {}:"


class ErrorTypeFilter(FaultFilter):
    """By the type of error."""

    title = _("error type")
    parameter_name = "error_type"
    names = ERROR_TYPES
    written = ":{} "


class GroupFilter(LinkedFilter):
    """By a fault, which is a field and a type of error: each count above the list leads to one."""

    title = _("fault")
    parameter_name = "fault"

    def found(self, queryset: Any, value: str) -> Any:
        """Return the deliveries with the fault."""
        return queryset.filter(faults__contains=f" {value} ")


@admin.register(RejectedDelivery)
class RejectedDeliveryAdmin(RecordAdmin):
    """Rejected deliveries."""

    change_form_template = "admin/sartiq_tasks/rejected_page.html"
    list_display = ("received", "task", "source", "status", "faults_shown", "not_kept", "accepted")
    list_filter = (
        RejectedSourceFilter,
        AnswerFilter,
        FieldFilter,
        ErrorTypeFilter,
        OutcomeFilter,
        ReceivedFilter,
        GroupFilter,
    )
    ordering = ("-received_at", "-id")
    sortable_by = ("received",)
    actions = ("try_again",)
    export_columns = (
        "received_at", "source", "status", "errors", "headers", "body", "is_whole", "not_kept", "accepted_at",
    )  # fmt: skip
    fields = (
        "received", "source", "task", "status", "accepted", "not_kept", "what_was_wrong", "what_was_sent",
        "sent_headers",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[RejectedDelivery]:
        """Leave the bodies out until one is looked at."""
        return super().get_queryset(request).defer(*_NOT_LISTED)

    def for_list(self, rows: Any) -> Any:
        """Add what the list reads of a body to find its task in it."""
        return rows.annotate(body_start=Substr("body", 1, LONGEST_READ, output_field=BinaryField()))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the list under the count of each fault, and say how many deliveries were only counted."""
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if "cl" in context:
            context |= self.groups(request, context["cl"])
        return response

    def groups(self, request: HttpRequest, shown: Any) -> dict[str, Any]:
        """Return the count of each fault among the newest deliveries that the list's other filters leave."""
        rows = shown.rows_but_for(request, (GroupFilter,)).order_by("-received_at")
        newest = RejectedDelivery.objects.using(rows.db).filter(pk__in=rows.values("pk")[:MAX_COUNT])
        alike = newest.values_list("faults").annotate(Count("pk"), Sum("not_kept")).order_by("faults")
        counted, only_counted = Counter[str](), 0
        for faults, number, not_kept in alike:
            counted.update(dict.fromkeys(faults.split(), number))
            only_counted += not_kept
        chosen = request.GET.get("fault")
        return {
            "counts_title": _("Rejected deliveries by fault"),
            "counts": [
                {
                    "name": Meaning.FAILED.value, "label": fault.replace(":", ": "), "symbol": "",
                    "number": number, "is_current": fault == chosen,
                    "url": shown.get_query_string({"fault": None if fault == chosen else fault}),
                }
                for fault, number in counted.most_common(MAX_GROUPS)
            ],
            "only_counted": only_counted,
            "kept_per_minute": app_settings().rejected_per_minute,
        }  # fmt: skip

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may have deliveries tried again."""
        return bool(request.user.has_perm("sartiq_tasks.retry_rejecteddelivery"))

    @admin.display(description=_("received"), ordering="received_at")
    def received(self, rejected: RejectedDelivery) -> str:
        """Return when it was received."""
        return display.time_tag(rejected.received_at)

    @admin.display(description=_("faults"))
    def faults_shown(self, rejected: RejectedDelivery) -> str:
        """Return the faults in one line."""
        return display.cut(rejected.faults.strip())

    @admin.display(description=_("accepted at"))
    def accepted(self, rejected: RejectedDelivery) -> str:
        """Return when it was tried again and accepted."""
        return display.time_tag(rejected.accepted_at)

    def get_urls(self) -> list[URLPattern]:
        """Add the button of a page."""
        view = self.admin_site.admin_view(require_POST(self.try_again_view))
        name = "sartiq_tasks_rejecteddelivery_try_again"
        return [path("<int:pk>/try-again/", view, name=name), *super().get_urls()]

    def try_again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Try one delivery again, and show its page."""
        if not (self.has_view_permission(request) and self.has_retry_permission(request)):
            raise PermissionDenied
        rejected = self.get_queryset(request).filter(pk=pk)
        if not rejected:
            raise Http404
        self.try_again(request, rejected)
        site = self.admin_site.name
        return redirect(reverse("admin:sartiq_tasks_rejecteddelivery_change", args=[pk], current_app=site))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Say whether it can be tried again."""
        rejected = context["original"]
        context["may_retry"] = self.has_retry_permission(request)
        context["is_broken"] = not rejected.is_whole or any(
            error["type"] == "json_invalid" for error in rejected.errors
        )
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("task"))
    def task(self, rejected: Any) -> str:
        """Return the task that it names, as a link to what is known of it; the list reads no long body."""
        body = rejected.body_start if hasattr(rejected, "body_start") else rejected.body
        with suppress(ValueError, RecursionError):
            sent = json.loads(bytes(body or b""))  # SQLite's part of an empty body is null
            task_id = sent.get("task_id") if isinstance(sent, dict) else None
            if isinstance(task_id, str) and task_id.isprintable():
                url = reverse("admin:sartiq_tasks_task_changelist", current_app=self.admin_site.name)
                return format_html(
                    '<a href="{}?q={}">{}</a>', url, display.query(task_id), display.shown(task_id)
                )
        return display.EMPTY

    @admin.display(description=_("what was wrong"))
    def what_was_wrong(self, rejected: RejectedDelivery) -> SafeString:
        """Return a line for each error: the parser's words and the place, if it is about the JSON itself."""
        lines = ((field_of(error), error["msg"], _parser(error), error["type"]) for error in rejected.errors)
        return format_html("<ul>{}</ul>", format_html_join("", "<li><b>{}</b>: {}{} ({})</li>", lines))

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
                "%d delivery is still rejected: its page says why.",
                "%d deliveries are still rejected: their pages say why.",
                still_rejected,
            )
            self.message_user(request, text % still_rejected, messages.WARNING)


def _parser(error: Mapping[str, Any]) -> str:
    """Return the parser's words and where the JSON breaks off, if that is the error."""
    if error["type"] != "json_invalid":
        return ""
    told = {"words": error.get("ctx", {}).get("error", ""), "position": error["loc"][1] + 1}
    return str(_(": %(words)s, at character %(position)s") % told)
