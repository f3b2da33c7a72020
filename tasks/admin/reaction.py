"""The reactions in the admin: their list, their pages, and the decisions of staff about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ..handlers import control
from ..handlers.registry import by_name, declared
from ..handlers.sql import database
from ..models import Handler, Reaction, TaskStatusEvent
from ..ops.headline import headline
from ..querysets import ReactionQuerySet
from . import display, reaction_display
from .addresses import event_url, task_url
from .base import Names, RecordAdmin
from .confirmation import confirmation, is_confirmed
from .filters import HandlerFilter, StateFilter
from .linked_filters import KindFilter, TaskFilter
from .time_filters import CreatedFilter

#: An action changes at most this many at once: each is a transaction of its own, and a field of the form that
#: confirms it, of which Django takes 1,000.
MAX_DECIDED = 500
#: What the form of a reaction's page sends along, to come back to it.
_PAGE = "_page"
_UNDECIDED = (Reaction.State.PENDING, Reaction.State.DEAD)


@admin.register(Reaction)
class ReactionAdmin(RecordAdmin):
    """The reactions."""

    change_form_template = "admin/sartiq_tasks/reaction_page.html"
    list_display: Names = (
        "handler_shown", "task_link", "change_shown", "state_badge", "attempts_shown", "next_attempt",
        "created", "error_shown",
    )  # fmt: skip
    list_filter: ClassVar[Names] = (StateFilter, HandlerFilter, KindFilter, CreatedFilter, TaskFilter)
    search_fields: ClassVar[Names] = ("task_id",)
    search_help_text = _("Finds reactions by the beginning of a task id. Letter case matters.")
    ordering: ClassVar[Names] = ("-id",)
    sortable_by: ClassVar[Names] = ("created",)
    actions: Names = ("try_again", "give_up")
    export_columns = tuple(field.attname for field in Reaction._meta.concrete_fields)
    fields: ClassVar[Names] = ("handler",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether the start page lists reactions: not if no app declares a handler."""
        return bool(declared()) and super().has_module_permission(request)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may have reactions tried again, and give them up."""
        return bool(request.user.has_perm("sartiq_tasks.decide_reaction"))

    def get_ordering(self, request: HttpRequest) -> Any:
        """Return the order: of the pending ones by handler the longest due first, as an index has them."""
        if request.GET.get(StateFilter.parameter_name) == Reaction.State.PENDING:
            return ("handler", "due_at", "id")
        return super().get_ordering(request)

    @admin.display(description=_("handler"))
    def handler_shown(self, reaction: Reaction) -> str:
        """Return the handler's name."""
        return display.cut(reaction.handler)

    @admin.display(description=_("task"))
    def task_link(self, reaction: Reaction) -> str:
        """Return the task's id as a link to its page."""
        told = display.shown(reaction.task_id)
        return format_html(
            '<a href="{}" title="{}">{}</a>', task_url(reaction.task_id, self.admin_site.name), told, told
        )

    @admin.display(description=_("change"))
    def change_shown(self, reaction: Reaction) -> str:
        """Return what happened to the task."""
        return display.cut(reaction_display.change(reaction))

    @admin.display(description=_("state"))
    def state_badge(self, reaction: Reaction) -> str:
        """Return the state as a badge."""
        return reaction_display.state_badge(reaction, timezone.now())

    @admin.display(description=_("attempts"))
    def attempts_shown(self, reaction: Reaction) -> str:
        """Return how many attempts were made."""
        return reaction_display.attempts(reaction)

    @admin.display(description=_("next try"))
    def next_attempt(self, reaction: Reaction) -> str:
        """Return when it is tried next."""
        return reaction_display.next_attempt(reaction, timezone.now())

    @admin.display(description=_("stored"), ordering="id")
    def created(self, reaction: Reaction) -> str:
        """Return how long ago it was stored."""
        return display.ago(reaction.created_at)

    @admin.display(description=_("error"))
    def error_shown(self, reaction: Any) -> str:
        """Return the last error's headline."""
        return display.line(headline(reaction.error_start, reaction.error_end) or None)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show everything about a reaction."""
        response = super().change_view(request, object_id, form_url, extra_context)
        if isinstance(response, TemplateResponse):
            context = response.context_data or {}
            response.context_data = {**context, **self.page(request, context["original"])}
        return response

    def page(self, request: HttpRequest, reaction: Reaction) -> dict[str, Any]:
        """Return the context of a reaction's page."""
        now = timezone.now()
        may_decide = self.has_decide_permission(request) and not reaction_display.is_running(reaction, now)
        return {
            "title": reaction.handler,
            "subtitle": None,
            "badge": reaction_display.state_badge(reaction, now),
            "change": reaction_display.change(reaction),
            "headline": headline(reaction.error),
            "notes": self.notes(reaction),
            "facts": self.facts(reaction),
            "list_url": self.list_url(),
            "of_task_url": f"{self.list_url()}?task_id={display.query(reaction.task_id)}",
            "may_try_again": may_decide and reaction.state != Reaction.State.DONE,
            "may_give_up": may_decide and reaction.state in _UNDECIDED,
        }

    def notes(self, reaction: Reaction) -> list[str]:
        """Return why a pending reaction may not be tried soon."""
        found: list[str] = []
        if reaction.state != Reaction.State.PENDING:
            return found
        if reaction.handler not in by_name():
            found.append(str(_("No app declares this handler any more, so no worker takes it.")))
        handlers = Handler.objects.using(reaction._state.db).filter(name=reaction.handler)
        if handlers.exclude(paused_at=None).exists():
            found.append(str(_("The handler is paused.")))
        of_task = Reaction.objects.using(reaction._state.db).pending().filter(task_id=reaction.task_id)
        first = of_task.filter(handler=reaction.handler, seq__lt=reaction.seq).order_by("seq").first()
        if first is not None:
            address = self.page_url(first.pk)
            told = _("It waits for an earlier reaction of this task and handler: {}.")
            found.append(format_html(str(told), format_html('<a href="{}">#{}</a>', address, first.seq)))
        return found

    def facts(self, reaction: Reaction) -> list[tuple[Any, Any]]:
        """Return the columns as names and values."""
        site = self.admin_site.name
        handlers = reverse("admin:sartiq_tasks_handler_changelist", current_app=site)
        events = TaskStatusEvent.objects.using(reaction._state.db).filter(task_id=reaction.task_id)
        event: Any = display.EMPTY
        if reaction.event_id is not None and events.filter(pk=reaction.event_id).exists():
            event = format_html('<a href="{}">{}</a>', event_url(reaction.event_id, site), reaction.event_id)
        return [
            (_("Handler"), format_html('<a href="{}">{}</a>', handlers, reaction.handler)),
            (_("Task"), self.task_link(reaction)),
            (_("Event"), event),
            (_("Kind"), Reaction.Kind(reaction.kind).label),
            (_("Number in the task"), reaction.seq),
            (_("Attempts"), reaction_display.attempts(reaction)),
            (_("Attempts that do not count"), reaction.excused),
            (_("Replays"), reaction.replays),
            (_("Next try"), reaction_display.next_attempt(reaction, timezone.now())),
            (_("Stored"), display.time_tag(reaction.created_at)),
            (_("Last attempt began"), display.time_tag(reaction.started_at)),
            (_("Ended"), display.time_tag(reaction.ended_at)),
            (_("Idempotency key"), reaction.key),
        ]

    def list_url(self) -> str:
        """Return the list's address."""
        return reverse("admin:sartiq_tasks_reaction_changelist", current_app=self.admin_site.name)

    def page_url(self, pk: int) -> str:
        """Return the address of a reaction's page."""
        return reverse("admin:sartiq_tasks_reaction_change", args=[pk], current_app=self.admin_site.name)

    @admin.action(description=_("Try again"), permissions=["decide"])
    def try_again(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Have the selected reactions run once more, except for those that are done."""
        return self.decide(
            request, queryset.exclude(state=Reaction.State.DONE), control.try_again, "try_again",
            title=str(_("Try again")),
            text=str(_("A worker will call the handler again, with the full number of attempts, for:")),
            log="Tried again.",
        )  # fmt: skip

    @admin.action(description=_("Give up"), permissions=["decide"])
    def give_up(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """End the selected reactions that are pending or dead."""
        return self.decide(
            request, queryset.filter(state__in=_UNDECIDED), control.give_up, "give_up",
            title=str(_("Give up")),
            text=str(_("The handler will not be called again, and later events no longer wait, for:")),
            log="Given up.",
        )  # fmt: skip

    def decide(
        self, request: HttpRequest, queryset: Any, decide: Callable[[ReactionQuerySet], int], action: str,
        *, title: str, text: str, log: str,
    ) -> HttpResponse | None:  # fmt: skip
        """Ask for confirmation, then apply ``decide`` to each of ``queryset``, up to ``MAX_DECIDED``."""
        found = list(queryset[: MAX_DECIDED + 1])
        is_cut, found = len(found) > MAX_DECIDED, found[:MAX_DECIDED]
        if not found:
            told = _("Nothing was changed: the action applies to none of the selected reactions.")
            self.message_user(request, told, messages.WARNING)
            return None
        back = self.page_url(found[0].pk) if _PAGE in request.POST else request.get_full_path()
        if not is_confirmed(request):
            fields = [("action", action), *((ACTION_CHECKBOX_NAME, str(one.pk)) for one in found)]
            fields += [(_PAGE, "yes")] if _PAGE in request.POST else []
            limit = _("Only the first %d of the selected reactions are changed at once.") % MAX_DECIDED
            return confirmation(
                request, self, title=title, text=f"{limit} {text}" if is_cut else text, objects=found,
                fields=fields, back=back,
            )  # fmt: skip
        # In the order of a task: a later one must not be due alone.
        changed = [one for one in sorted(found, key=lambda one: one.seq) if decide(_alone(one))]
        for one in changed:
            self.log_change(request, one, log)
        self.tell(request, len(changed), len(found) - len(changed))
        return redirect(back)

    def tell(self, request: HttpRequest, changed: int, left: int) -> None:
        """Say how many were changed, and how many were not."""
        if changed:
            told = ngettext("%d reaction was changed.", "%d reactions were changed.", changed)
            self.message_user(request, told % changed, messages.SUCCESS)
        if left:
            told = ngettext(
                "%d reaction was not changed: it is running, or has changed in the meantime.",
                "%d reactions were not changed: they are running, or have changed in the meantime.",
                left,
            )
            self.message_user(request, told % left, messages.WARNING)


def _alone(reaction: Reaction) -> ReactionQuerySet:
    found: ReactionQuerySet = Reaction.objects.using(database()).filter(
        task_id=reaction.task_id, pk=reaction.pk
    )
    return found
