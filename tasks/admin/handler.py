"""The handlers in the admin: how each stands, and pause and resume."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..handlers.control import pause, resume
from ..handlers.registry import by_name, declared
from ..handlers.sql import database
from ..handlers.standing import MAX_COUNT, Standing, standings
from ..lifecycle import Meaning
from ..models import Handler, Reaction
from . import display
from .base import Names, RecordAdmin
from .confirmation import confirmation, is_confirmed

#: Seconds after which the page refreshes itself.
REFRESH_SECONDS = 5
_ACTIONS = {"pause": pause, "resume": resume}
_MEANINGS = dict(Meaning.choices)
#: The labels of the handlers that ask for no meaning, by their kind.
_OTHERS = {
    Reaction.Kind.EVENT: gettext_lazy("each event"),
    Reaction.Kind.LOST: gettext_lazy("a task that is marked as lost"),
    Reaction.Kind.FOUND: gettext_lazy("a lost task that is heard from again"),
}


@admin.register(Handler)
class HandlerAdmin(RecordAdmin):
    """Every handler that is declared or that the database knows, on one page."""

    fields: ClassVar[Names] = ("name", "registered_at", "paused_at", "seen_at")
    export_columns = fields

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether the start page lists handlers: not if no app declares one."""
        return bool(declared()) and super().has_module_permission(request)

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may pause and resume handlers."""
        return bool(request.user.has_perm("sartiq_tasks.pause_handler"))

    def for_list(self, rows: Any) -> Any:
        """Return the rows as they are."""
        return rows

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show how each handler stands, or pause or resume the one that the form names."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self.decide(request)
        now = timezone.now()
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": _("Handlers"), "opts": self.opts, "media": self.media,
            "rows": [self.row(one, now) for one in standings()],
            "may_pause": self.has_pause_permission(request),
            "live_seconds": REFRESH_SECONDS, **(extra_context or {}),
        }  # fmt: skip
        return TemplateResponse(request, "admin/sartiq_tasks/handlers.html", context)

    def row(self, one: Standing, now: datetime) -> dict[str, Any]:
        """Return the context of a handler's row."""
        url = reverse("admin:sartiq_tasks_reaction_changelist", current_app=self.admin_site.name)
        address = f"{url}?handler={display.query(one.name)}"
        return {
            "name": one.name,
            "url": address,
            "called_for": _called_for(one.name),
            "states": states(one, now),
            "pending": _count(one.pending),
            "pending_url": f"{address}&state=pending",
            "oldest": display.ago(one.oldest),
            "is_late": one.is_late(now),
            "dead": _count(one.dead),
            "dead_url": f"{address}&state=dead",
            "seen": display.ago(one.seen_at),
            "action": "resume" if one.paused_at else "pause",
        }

    def decide(self, request: HttpRequest) -> HttpResponse:
        """Ask for confirmation, then pause or resume the handler."""
        if not self.has_pause_permission(request):
            raise PermissionDenied
        action = next((one for one in _ACTIONS if one in request.POST), None)
        if action is None:
            raise BadRequest("A handler can be paused and resumed.")
        name = request.POST[action]
        if name not in {one.name for one in standings()}:
            raise Http404
        back = reverse("admin:sartiq_tasks_handler_changelist", current_app=self.admin_site.name)
        if not is_confirmed(request):
            return confirmation(
                request, self, title=(_("Pause %s?") if action == "pause" else _("Resume %s?")) % name,
                text=_("Workers start none of its reactions until it is resumed. New ones are still stored:")
                if action == "pause" else _("Workers continue with the reactions stored in the meantime:"),
                objects=[name], fields=[(action, name)], back=back,
            )  # fmt: skip
        _ACTIONS[action](name)
        self.log_change(
            request,
            Handler.objects.using(database()).get(pk=name),
            "Paused." if action == "pause" else "Resumed.",
        )
        told = _("The handler %s is paused.") if action == "pause" else _("The handler %s is resumed.")
        self.message_user(request, told % name, messages.SUCCESS)
        return redirect(back)


def states(one: Standing, now: datetime) -> list[SafeString]:
    """Return the badges of a handler's state, which show whether it needs a person."""
    found: list[tuple[str, str, Any]] = []
    if one.paused_at:
        found.append(("cancelled", "‖", _("Paused for %s") % display.in_one_unit(now - one.paused_at)))
    if not one.is_declared:
        found.append(("failed" if one.is_gone else "queued", "∅", _("No app declares it")))
    elif one.is_unserved(now):
        found.append(("failed", "✖", _("No worker")))
    if one.is_late(now) and not one.paused_at and one.is_declared:
        found.append(("cancelled", "◷", _("Late")))
    found = found or [("succeeded", "✔", _("Works"))]
    return [
        format_html('<span class="st-badge st-{}"><span aria-hidden="true">{}</span> {}</span>', *each)
        for each in found
    ]


def _called_for(name: str) -> str:
    """Return what a declared handler asks for, in words."""
    handler = by_name().get(name)
    if handler is None:
        return display.EMPTY
    if handler.event_type is not None:
        told = _("each event %s") % handler.event_type
    elif handler.kind in _OTHERS:
        told = str(_OTHERS[handler.kind])
    elif handler.to is None:
        told = _("each change")
    else:
        told = _("a change to %s") % ", ".join(str(_MEANINGS.get(one, one)) for one in sorted(handler.to))
    return told if handler.task_type is None else f"{told} ({handler.task_type})"


def _count(number: int) -> str:
    return f"{MAX_COUNT}+" if number > MAX_COUNT else str(number)
