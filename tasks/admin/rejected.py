"""Rejected deliveries in the admin: the bodies, their faults, and the button that tries them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
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
from ..models import RejectedDelivery, Task
from ..querysets.scans import counts_by, in_batches
from ..rejections import note_those_sent_again, reopen, settle, try_again
from . import display, faults
from .addresses import task_url
from .base import Names, RecordAdmin
from .body_marks import marked
from .curl import copy_buttons
from .paginator import MAX_COUNT
from .rejected_filters import (
    AnswerFilter,
    ErrorTypeFilter,
    FieldFilter,
    GroupFilter,
    NamedTaskFilter,
    OutcomeFilter,
    RejectedSourceFilter,
)
from .time_filters import ReceivedFilter

#: A longer body cannot be copied from its page.
LONGEST_COPIED = 100_000
#: The number of faults that are counted above the list, the most frequent first.
MAX_GROUPS = 12
#: What staff can decide, in the list and by the buttons of a page.
DECISIONS = ("try_again", "settle", "reopen")
#: Rows that an action reads at once, with their bodies.
BATCH = 50
_NOT_LISTED = ("body", "errors", "headers")


@admin.register(RejectedDelivery)
class RejectedDeliveryAdmin(RecordAdmin):
    """Rejected deliveries."""

    change_form_template = "admin/sartiq_tasks/rejected_page.html"
    list_display: Names = (
        "received", "task", "sender", "status", "faults_shown", "not_kept", "outcome_shown",
    )  # fmt: skip
    list_filter: ClassVar[Names] = (
        OutcomeFilter,
        RejectedSourceFilter,
        AnswerFilter,
        FieldFilter,
        ErrorTypeFilter,
        ReceivedFilter,
        GroupFilter,
        NamedTaskFilter,
    )
    ordering: ClassVar[Names] = ("-received_at", "-id")
    sortable_by: ClassVar[Names] = ("received",)
    actions: Names = DECISIONS
    export_columns = (
        "received_at", "source", "status", "errors", "headers", "body", "is_whole", "not_kept", "named_task",
        "outcome", "settled_at", "settled_by",
    )  # fmt: skip
    fields: ClassVar[Names] = (
        "what_was_wrong", "what_was_sent", "task_on_page", "outcome_on_page", "received", "sender", "status",
        "not_kept", "sent_headers",
    )  # fmt: skip

    def get_fields(self, request: HttpRequest, obj: RejectedDelivery | None = None) -> Any:
        """Leave out what is empty."""
        columns = {"not_kept": "not_kept", "sent_headers": "headers"}
        return [one for one in self.fields if one not in columns or getattr(obj, columns[one], None)]

    def get_queryset(self, request: HttpRequest) -> QuerySet[RejectedDelivery]:
        """Leave the bodies out until one is looked at."""
        return super().get_queryset(request).defer(*_NOT_LISTED)

    def for_list(self, rows: Any) -> Any:
        """Return the rows as they are."""
        return rows

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the list under the count of each fault, and say how many deliveries were only counted."""
        note_those_sent_again()
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if "cl" in context:
            context |= self.groups(request, context["cl"])
            context["count_links"] = display.count_links(context["counts"])
        return response

    def groups(self, request: HttpRequest, shown: Any) -> dict[str, Any]:
        """Return the count of each fault among the newest deliveries that the list's other filters leave."""
        rows = shown.rows_but_for(request, (GroupFilter,)).order_by("-received_at")
        counted, only_counted = Counter[str](), 0
        for found, number, not_kept in counts_by(rows[:MAX_COUNT], "faults", total="not_kept"):
            counted.update(dict.fromkeys(filter(faults.is_told, found.split()), number))
            only_counted += not_kept
        chosen = request.GET.get("fault")
        return {
            "counts_title": _("Rejected deliveries by fault"),
            "counts": [
                {
                    "name": Meaning.FAILED.value, "label": faults.label(fault), "symbol": "", "title": fault,
                    "number": number, "is_current": fault == chosen,
                    "url": shown.get_query_string({"fault": None if fault == chosen else fault}),
                }
                for fault, number in counted.most_common(MAX_GROUPS)
            ],
            "only_counted": only_counted,
            "kept_per_minute": app_settings().rejected_per_minute,
        }  # fmt: skip

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may have deliveries tried again, and settle them."""
        return bool(request.user.has_perm("sartiq_tasks.retry_rejecteddelivery"))

    @admin.display(description=_("received"), ordering="received_at")
    def received(self, rejected: RejectedDelivery) -> str:
        """Return when it was received."""
        return display.time_tag(rejected.received_at)

    @admin.display(description=_("sender"))
    def sender(self, rejected: RejectedDelivery) -> str:
        """Return the client that sent it."""
        return display.cut(display.shown(rejected.source))

    @admin.display(description=_("faults"))
    def faults_shown(self, rejected: RejectedDelivery) -> str:
        """Return the faults in one line, in words."""
        return display.cut(faults.of_row(rejected.faults))

    @admin.display(description=_("outcome"))
    def outcome_shown(self, rejected: RejectedDelivery) -> str:
        """Return whether it is open, or why it is not any more."""
        return _outcome(rejected)

    @admin.display(description=_("outcome"))
    def outcome_on_page(self, rejected: RejectedDelivery) -> str:
        """Return whether it is open, or why it is not any more, since when, and by whom."""
        if rejected.settled_at is None:
            return _outcome(rejected)
        by = "" if rejected.settled_by is None else _("by %s") % rejected.settled_by
        return format_html("{} {} {}", _outcome(rejected), display.time_tag(rejected.settled_at), by)

    def get_urls(self) -> list[URLPattern]:
        """Add the buttons of a page."""
        wrap = self.admin_site.admin_view
        view, name = wrap(require_POST(self.decision_view)), "sartiq_tasks_rejecteddelivery_{}"
        buttons = [
            path(f"<int:pk>/{one.replace('_', '-')}/", view, {"decision": one}, name=name.format(one))
            for one in DECISIONS
        ]
        return [*buttons, *super().get_urls()]

    def decision_view(self, request: HttpRequest, pk: int, decision: str) -> HttpResponse:
        """Try one delivery again, settle it or open it again, and show its page."""
        if not (self.has_view_permission(request) and self.has_retry_permission(request)):
            raise PermissionDenied
        rejected = self.get_queryset(request).filter(pk=pk)
        if not rejected:
            raise Http404
        getattr(self, decision)(request, rejected)
        site = self.admin_site.name
        return redirect(reverse("admin:sartiq_tasks_rejecteddelivery_change", args=[pk], current_app=site))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Say whether it can be tried again, and settled."""
        rejected = context["original"]
        context["may_retry"] = self.has_retry_permission(request)
        context["is_broken"] = not rejected.is_whole or any(
            error["type"] == "json_invalid" for error in rejected.errors
        )
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("task"))
    def task(self, rejected: Any) -> str:
        """Return the task that it names, as a link to what is known of it."""
        task_id = rejected.named_task
        if task_id is None:
            return display.EMPTY
        url = reverse("admin:sartiq_tasks_task_changelist", current_app=self.admin_site.name)
        return format_html('<a href="{}?q={}">{}</a>', url, display.query(task_id), display.shown(task_id))

    @admin.display(description=_("task"))
    def task_on_page(self, rejected: RejectedDelivery) -> str:
        """Return the task that it names, as a link to the task's page if there is one."""
        task_id = rejected.named_task
        if task_id is None:
            return display.EMPTY
        if not Task.objects.using(rejected._state.db).filter(pk=task_id).exists():
            return format_html(str(_("{}: there is no such task")), display.shown(task_id))
        url = task_url(task_id, self.admin_site.name)
        return format_html('<a href="{}">{}</a>', url, display.shown(task_id))

    @admin.display(description=_("what was wrong"))
    def what_was_wrong(self, rejected: RejectedDelivery) -> SafeString:
        """Return a line for each error."""
        return faults.lines(rejected.errors)

    @admin.display(description=_("what was sent"))
    def what_was_sent(self, rejected: RejectedDelivery) -> SafeString:
        """Return the body with the failing places marked, and buttons that copy it as it came."""
        body = bytes(rejected.body)
        if not body:
            return format_html("{}", _("Nothing: the body is empty."))
        return format_html("{}{}", marked(body, rejected.errors), _buttons(body) if rejected.is_whole else "")

    @admin.display(description=_("headers"))
    def sent_headers(self, rejected: RejectedDelivery) -> SafeString:
        """Return a line for each header that was kept."""
        return format_html_join("", "{}: {}<br>", rejected.headers.items())

    @admin.action(description=_("Try again"), permissions=["retry"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[RejectedDelivery]) -> None:
        """Validate and record those of the selected deliveries again that are open."""
        accepted = still_rejected = 0
        selected, found = queryset.count(), queryset.filter(outcome=RejectedDelivery.Outcome.OPEN)
        for rejected in in_batches(found.defer(None), size=BATCH):
            try:
                try_again(rejected, by=request.user.get_username())
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
        self._tell_of_others(request, selected - accepted - still_rejected)

    @admin.action(description=_("Mark as settled"), permissions=["retry"])
    def settle(self, request: HttpRequest, queryset: QuerySet[RejectedDelivery]) -> None:
        """Note that the selected deliveries need nobody."""
        by = request.user.get_username()
        settled = self._decide(request, queryset, lambda one: settle(one, by=by), "Marked as settled.")
        if settled:
            text = ngettext("%d delivery is settled.", "%d deliveries are settled.", settled)
            self.message_user(request, text % settled, messages.SUCCESS)

    @admin.action(description=_("Open again"), permissions=["retry"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[RejectedDelivery]) -> None:
        """Take back that the selected deliveries were settled by staff."""
        opened = self._decide(request, queryset, reopen, "Opened again.")
        if opened:
            text = ngettext("%d delivery is open again.", "%d deliveries are open again.", opened)
            self.message_user(request, text % opened, messages.SUCCESS)

    def _decide(
        self,
        request: HttpRequest,
        rows: QuerySet[RejectedDelivery],
        do: Callable[[RejectedDelivery], bool],
        log: str,
    ) -> int:
        """Do so with each of the rows, and return how many it changed."""
        selected = rows.count()
        changed = [one for one in in_batches(rows, size=BATCH) if do(one)]
        for one in changed:
            self.log_change(request, one, log)
        self._tell_of_others(request, selected - len(changed))
        return len(changed)

    def _tell_of_others(self, request: HttpRequest, others: int) -> None:
        """Say how many of the selected deliveries an action left as they were."""
        if others:
            text = ngettext(
                "%d delivery was not changed: the action does not apply to its outcome.",
                "%d deliveries were not changed: the action does not apply to their outcome.",
                others,
            )
            self.message_user(request, text % others, messages.WARNING)


def _outcome(rejected: RejectedDelivery) -> SafeString:
    look = "st-open" if rejected.outcome == RejectedDelivery.Outcome.OPEN else "st-settled"
    label = RejectedDelivery.Outcome(rejected.outcome).label
    return format_html('<span class="{}">{}</span>', look, label)


def _buttons(body: bytes) -> SafeString:
    """Return what copies a body: nothing if it is not text, or too long for a page to hold twice."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return SafeString()
    return copy_buttons(text) if len(text) <= LONGEST_COPIED and "\0" not in text else SafeString()
