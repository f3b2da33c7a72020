"""The facts of a task's row on its page."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from ..lifecycle import Meaning, Phase
from ..models import RejectedDelivery, Task
from ..models.tasks import between
from ..ops.headline import headline
from . import display
from .paginator import MAX_COUNT

#: Seconds after which a page refreshes itself.
REFRESH_SECONDS = 5
_SINCE = {Phase.QUEUED: _("Queued since"), Phase.RUNNING: _("Running since"), Phase.ENDED: _("Ended")}


def context(task: Task, site: str) -> dict[str, Any]:
    """Return the template's context for the task's state."""
    now = timezone.now()
    return {
        "badge": display.task_badge(task, now),
        "progress_bar": display.progress_bar(task.progress, Meaning(task.meaning)),
        "headline": headline(task.error_message),
        "facts": _facts(task, now, site),
        "live_seconds": None if task.is_ended else REFRESH_SECONDS,
    }


def _facts(task: Task, now: datetime, site: str) -> list[tuple[Any, Any]]:
    # The badge tells of the silence instead.
    status = [(_("Status"), display.badge(task.status, Meaning(task.meaning)))]
    return [
        *(status if task.is_lost or task.is_silent(now) else []),
        (pgettext_lazy("task", "Type"), _link("task_type", task.task_type, site)),
        (_("Entity"), _link("entity_id", task.entity_id, site)),
        (_("Zone"), _link("origin_zone", task.origin_zone, site)),
        (_("Instance"), _link("origin_instance", task.origin_instance, site)),
        (_("Version"), _link("origin_version", task.origin_version, site)),
        (_("Error category"), _link("error_category", task.error_category, site)),
        (_("Elapsed"), display.duration(task.duration(now))),
        (_("Started"), display.time_tag(task.started_at)),
        (_("Completed"), display.time_tag(task.completed_at)),
        (_("Queued for"), display.duration(_queued_for(task, now))),
        (_("Ran for"), display.duration(task.first_run)),
        *_phase(task),
        (_("Status last reported"), display.time_tag(task.status_at)),
        (_("First event"), display.time_tag(task.first_event_at)),
        (_("Last event"), display.time_tag(task.last_event_at)),
        (_("Last heard from"), display.ago(task.last_received_at)),
        (_("Events"), task.event_count),
    ]


def rejected(task: Task, request: HttpRequest, site: str) -> dict[str, Any]:
    """Return the template's context for the rejected deliveries that name the task, by one query at most."""
    if not request.user.has_perm("sartiq_tasks.view_rejecteddelivery"):
        return {}
    rows = RejectedDelivery.objects.using(task._state.db)
    found, are_open = rows.numbers_of_task(task.pk, cap=MAX_COUNT)
    url = reverse("admin:sartiq_tasks_rejecteddelivery_changelist", current_app=site)
    return {
        "rejected": found,
        "rejected_shown": f"{MAX_COUNT}+" if found > MAX_COUNT else found,
        "rejected_url": f"{url}?named_task={display.query(task.pk)}",
        "open_rejected": are_open,
    }


def _queued_for(task: Task, now: datetime) -> timedelta | None:
    """Return how long it was queued before it ran, or ended without having run, or has been until now."""
    until = task.first_running_at or task.first_ended_at
    if until is None and task.phase is Phase.QUEUED:
        until = now
    return between(task.first_queued_at, until)


def _phase(task: Task) -> list[tuple[Any, Any]]:
    """Return since when the task has been queued, running or ended, as far as its row tells."""
    if task.phase is None:
        return []
    since = task.phase_since
    if since is not None:
        told = display.time_tag(since)
    else:
        told = format_html(str(_("again, some time after {}")), display.time_tag(task.phase_after))
    return [(_SINCE[task.phase], told)]


def _link(parameter: str, value: str | None, site: str) -> str:
    """Return a value as a link to the tasks that have it."""
    if value is None or "\0" in value:
        return display.shown(value)
    url = reverse("admin:sartiq_tasks_task_changelist", current_app=site)
    address = f"{url}?{parameter}={display.query(value)}"
    return format_html('<a href="{}">{}</a>', address, display.shown(value))
