"""A task's silence on its page, and the decisions of staff about silent and lost tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ..conf import app_settings
from ..ledger.silence import ask_soon, last_received, mark_lost, mark_not_lost
from ..models import Silence, Task
from ..querysets.tasks import MAY_BE_LOST
from ..watchdog.asker import probe_of
from . import display
from .addresses import task_url
from .confirmation import confirmation, is_confirmed

#: An action changes at most this many at once: see ``reaction.MAX_DECIDED``.
MAX_DECIDED = 500
ASK, MARK = "sartiq_tasks.ask_task", "sartiq_tasks.mark_task_lost"


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that staff can take about a silent or lost task."""

    title: Any
    #: The text of the page that asks for confirmation; None asks nothing.
    question: Any
    permission: str
    do: Callable[[Task], bool]
    log: str


DECISIONS: Mapping[str, Decision] = {
    "ask_now": Decision(_("Ask now"), None, ASK, ask_soon, "Asked the cluster about it."),
    "mark_as_lost": Decision(
        _("Mark as lost"),
        _(
            "These tasks will be marked as lost, and the handlers of lost tasks called. Their status stays "
            "as the sender reported it, and the next event of a task removes its mark:"
        ),
        MARK,
        mark_lost,
        "Marked as lost.",
    ),
    "mark_as_not_lost": Decision(
        _("Not lost"),
        _("Their marks will be removed, and their time limit begins again:"),
        MARK,
        mark_not_lost,
        "Marked as not lost.",
    ),
}


def may_ask(request: HttpRequest) -> bool:
    """Return whether the user may have the cluster asked, and it is known how to ask it."""
    return request.user.has_perm(ASK) and probe_of(app_settings()) is not None


def context(task: Task, request: HttpRequest) -> dict[str, Any]:
    """Return the template's context: the task's silence, and the decisions that the user may take."""
    now = timezone.now()
    is_silent, silence = task.is_silent(now), None
    if is_silent or task.is_lost or task.is_ended:
        silence = Silence.objects.using(task._state.db).filter(pk=task.pk).first()
    is_over = silence is not None and silence.event_count != task.event_count
    offered = {
        "ask_now": (is_silent or task.is_lost) and may_ask(request),
        "mark_as_lost": is_silent and not task.is_lost,
        "mark_as_not_lost": task.is_lost,
    }
    return {
        "silence_notes": [] if task.is_ended else _notes(task, None if is_over else silence, is_silent),
        "silence_facts": _facts(task, silence, now) if silence else [],
        "decisions": [
            (name, one.title)
            for name, one in DECISIONS.items()
            if offered[name] and request.user.has_perm(one.permission)
        ],
    }


def note_those_that_probably_ended(tasks: Iterable[Task]) -> None:
    """Note on each silent task of a list whether it has probably ended, by one query if any is silent."""
    now = timezone.now()
    silent = {task.pk: task for task in tasks if task.is_silent(now)}
    if silent:
        ended = Task.objects.filter(pk__in=silent).said_to_have_ended().values_list("pk", flat=True)
        for pk in ended:
            vars(silent[pk])["said_to_have_ended"] = True


_LOST = _("Marked as lost {}. The status is what the sender last reported. The next event removes the mark.")
_SILENT = _(
    "Nothing was heard from it for %(length)s. Such a task counts as silent after %(limit)s without an event."
)
_ENDED = _(
    "It has probably ended: the event received last says so. An event with a later timestamp says otherwise, "
    "so a clock was ahead."
)
_HELD = _(
    "It is due to be marked as lost, but has been held back since {}: no other task was heard from, or too "
    "many would be marked at once."
)


def _notes(task: Task, silence: Silence | None, is_silent: bool) -> list[str]:
    found: list[str] = []
    if task.is_lost:
        found.append(format_html(str(_LOST), display.ago(task.lost_at)))
    if is_silent or task.is_lost:
        limit = app_settings().silence_limit(task.meaning, task.task_type)
        length = timezone.now() - task.last_received_at
        found.append(str(_SILENT) % {"length": display.duration(length), "limit": display.duration(limit)})
        if last_received([task.pk]).get(task.pk, (0, False))[1]:
            found.append(str(_ENDED))
    if silence is not None and silence.judged_at is not None:
        found.append(format_html(str(_HELD), display.time_tag(silence.judged_at)))
    return found


def _facts(task: Task, silence: Silence, now: datetime) -> list[tuple[Any, Any]]:
    """Return what was asked and answered, in order of time."""
    if silence.asked_at is None:
        return []
    answer = Silence.Answer(silence.answer).label if silence.answer else display.EMPTY
    facts: list[tuple[Any, Any]] = []
    if task.last_received_at < silence.asked_at:
        facts.append((_("Last event received"), display.time_tag(task.last_received_at)))
    facts += [
        (_("Cluster last asked"), display.time_tag(silence.asked_at)),
        (_("Its answer"), silence.error or answer),
    ]
    if silence.failures:
        facts.append((_("Failed requests"), silence.failures))
    if silence.due_at is not None:
        name = _("Next request at") if silence.due_at > now else _("Next request was due at")
        facts.append((name, display.time_tag(silence.due_at)))
    return facts


def of_page(model_admin: Any, request: HttpRequest, task: Task) -> HttpResponse:
    """Do what the form of a task's page asks for."""
    name = request.POST.get("action", "")
    if name not in DECISIONS:
        raise BadRequest("There is no such action.")
    back = task_url(task.pk, model_admin.admin_site.name)
    return _decide(model_admin, request, [task], name, fields=[("action", name)], back=back)


def of_list(model_admin: Any, request: HttpRequest, queryset: Any, name: str) -> HttpResponse | None:
    """Do what an action of the list asks for, to up to ``MAX_DECIDED`` of what was selected."""
    if name == "mark_as_not_lost":
        queryset = queryset.lost()
    found = list(queryset.filter(meaning__in=MAY_BE_LOST)[:MAX_DECIDED])
    if name == "mark_as_lost":  # the list of silent tasks has lost ones, too
        found = [one for one in found if not one.is_lost]
    fields = [("action", name), *((ACTION_CHECKBOX_NAME, str(one.pk)) for one in found)]
    return _decide(model_admin, request, found, name, fields=fields, back=request.get_full_path())


def _decide(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    found: list[Task],
    name: str,
    *,
    fields: list[tuple[str, str]],
    back: str,
) -> HttpResponse:
    decision = DECISIONS[name]
    if not (model_admin.has_view_permission(request) and request.user.has_perm(decision.permission)):
        raise PermissionDenied
    if found and decision.question is not None and not is_confirmed(request):
        title, text = str(decision.title), str(decision.question)
        return confirmation(
            request, model_admin, title=title, text=text, objects=found, fields=fields, back=back
        )
    changed = [one for one in found if decision.do(one)]
    for one in changed:
        model_admin.log_change(request, one, decision.log)
    _tell(model_admin, request, name, len(changed), len(found) - len(changed))
    return redirect(back)


def _tell(model_admin: Any, request: HttpRequest, name: str, changed: int, left: int) -> None:
    if changed and name == "ask_now":
        text = ngettext(
            "The watchdog asks about %d task within seconds, if run_handlers is running.",
            "The watchdog asks about %d tasks within seconds, if run_handlers is running.",
            changed,
        )
        model_admin.message_user(request, text % changed, messages.SUCCESS)
    elif changed:
        text = ngettext("%d task was changed.", "%d tasks were changed.", changed)
        model_admin.message_user(request, text % changed, messages.SUCCESS)
    if left:
        text = ngettext(
            "%d task was not changed: it has changed in the meantime, or needed no change.",
            "%d tasks were not changed: they have changed in the meantime, or needed no change.",
            left,
        )
        model_admin.message_user(request, text % left, messages.WARNING)
    elif not changed:
        told = _("Nothing was changed: the action applies to none of the selected tasks.")
        model_admin.message_user(request, told, messages.WARNING)
