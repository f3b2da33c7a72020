"""The reactions of each handler to a task, for the task's page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from ..handlers.registry import declared
from ..models import Reaction, Task
from ..ops.headline import headline
from . import display, reaction_display

#: The reactions that the page shows of each handler, and in total; the list has the rest.
OF_EACH, OF_ALL = 5, 50


def context(task: Task, request: HttpRequest, site: str) -> dict[str, Any]:
    """Return the last reactions to a task and the address of them all.

    If no app declares a handler, or the user may not see reactions, it is empty and costs no query.
    """
    if not (declared() and request.user.has_perm("sartiq_tasks.view_reaction")):
        return {}
    now = timezone.now()
    reactions: Any = Reaction.objects.using(task._state.db)
    found = reactions.last_of_each_handler(task.pk, of_each=OF_EACH, of_all=OF_ALL)
    url = reverse("admin:sartiq_tasks_reaction_changelist", current_app=site)
    return {
        "reactions": [_row(one, now, site) for one in found],
        "reactions_url": f"{url}?task_id={display.query(task.task_id)}",
        "reactions_asked": True,
    }


def _row(one: Reaction, now: datetime, site: str) -> dict[str, Any]:
    url = reverse("admin:sartiq_tasks_reaction_change", args=[one.pk], current_app=site)
    return {
        "handler": format_html('<a href="{}">{}</a>', url, one.handler),
        "change": reaction_display.change(one),
        "badge": reaction_display.state_badge(one, now),
        "attempts": reaction_display.attempts(one),
        "next": reaction_display.next_attempt(one, now),
        "ended": display.time_tag(one.ended_at),
        "error": headline(one.error),
    }
