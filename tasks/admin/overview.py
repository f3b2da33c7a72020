"""The compute overview: whether all is well, and what needs somebody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..handlers.registry import declared
from ..handlers.standing import Standing, standings
from ..lifecycle import Meaning
from ..models import Overview, RejectedDelivery, Task, TaskStatusEvent
from ..ops.hours import counted_hours
from . import display
from .handler import states
from .overview_figures import Figures, figures
from .overview_html import Lists, charts, number, tiles
from .overview_needs import needs
from .paginator import MAX_COUNT
from .permissions import ReadOnly
from .zones import InViewersZone

#: How long a look may count hours of the past.
BUDGET = timedelta(milliseconds=200)
#: The kinds of failure, task types and senders that are shown, at most.
MOST_SHOWN = 6
#: Seconds after which the page refreshes itself; it does so sooner while hours are still to be counted.
REFRESH_SECONDS, COUNTING_SECONDS = 30, 3


@admin.register(Overview)
class OverviewAdmin(InViewersZone, ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """One page, for everyone who may see tasks."""

    class Media:
        css = {"all": ("sartiq_tasks/admin.css", "sartiq_tasks/overview.css")}
        js = ("sartiq_tasks/live.js", "sartiq_tasks/zone.js")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow everyone who may see tasks."""
        return bool(request.user.has_perm("sartiq_tasks.view_task"))

    def get_urls(self) -> list[URLPattern]:
        """Return the page alone: an hour has none of its own."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="sartiq_tasks_overview_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the overview."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": _("Compute overview"),
            "opts": self.opts,
            "media": self.media,
            **self.page(request),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/sartiq_tasks/overview.html", context)

    def page(self, request: Any) -> dict[str, Any]:
        """Return the context of the page."""
        now = timezone.now()
        may_see = {
            name: request.user.has_perm(f"sartiq_tasks.view_{name}")
            for name in ("rejecteddelivery", "taskstatusevent", "handler", "reaction")
        }
        standing = _standing(now)
        told = figures(
            counted_hours(now, budget=BUDGET),
            now,
            standing=standing,
            last_events=TaskStatusEvent.objects.last_of_each_source(),
            still_rejected=standing["still_rejected"] if may_see["rejecteddelivery"] else None,
            handlers=standings() if may_see["handler"] and declared() else [],
        )
        lists = Lists(self.admin_site.name, may_see)
        return {
            "needs": needs(told, lists),
            "tiles": tiles(told, lists),
            "charts": charts(told, lists),
            "failures": [lists.failure(kind, told) for kind in told.failures[:MOST_SHOWN]],
            "failed": told.day.failed,
            "has_more_failures": told.day.failed > sum(kind.tasks for kind in told.failures[:MOST_SHOWN]),
            "failed_url": lists.ended(Meaning.FAILED, told.day),
            "types": [lists.task_type(one, told) for one in told.types[:MOST_SHOWN]],
            "senders": [lists.sender(one, told) for one in told.senders[:MOST_SHOWN]],
            "handlers": [_handler(one, told, lists) for one in told.handlers],
            "may_see_rejected": may_see["rejecteddelivery"],
            "missing": told.missing,
            "live_seconds": COUNTING_SECONDS if told.missing else REFRESH_SECONDS,
        }


def _standing(now: Any) -> dict[str, Any]:
    """Return how many tasks are in which state, since when the first one waits, and under ``still_rejected``
    how many deliveries of the last day were kept and not accepted since.
    """
    rejected = RejectedDelivery.objects.filter(received_at__gte=now - timedelta(days=1), accepted_at=None)
    counts = Task.objects.counts(
        cap=MAX_COUNT,
        now=now,
        meanings=(Meaning.QUEUED, Meaning.RUNNING, Meaning.OTHER),
        also={"held_back": Task.objects.held_back(now), "still_rejected": rejected},
    )
    waiting = Task.objects.meaning(Meaning.QUEUED).order_by("last_received_at")
    oldest = waiting.values_list("last_received_at", flat=True).first() if counts["queued"] else None
    held_back = counts["held_back"] if counts["silent"] else 0
    return {**counts, "held_back": held_back, "oldest": oldest}


def _handler(standing: Standing, told: Figures, lists: Lists) -> dict[str, Any]:
    return {
        "name": standing.name,
        "url": lists.handlers(),
        "pending": number(standing.pending, MAX_COUNT),
        "pending_url": lists.reactions(handler=standing.name, state="pending"),
        "dead": number(standing.dead, MAX_COUNT),
        "dead_url": lists.reactions(handler=standing.name, state="dead"),
        "seen": display.ago(standing.seen_at),
        "states": states(standing, told.now),
    }
