"""The compute overview: one page that says whether all is well, or needs somebody."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from ..handlers.registry import declared
from ..handlers.standing import Standing, standings
from ..lifecycle import Meaning
from ..models import Overview, RejectedDelivery, Silence, Task, TaskStatusEvent
from ..ops.hours import HOUR, counted_hours, hour_of
from ..querysets.scans import capped_counts
from ..rejections import note_those_sent_again, sent_again
from . import display
from .handler import states
from .overview_charts import charts
from .overview_figures import Figures, figures
from .overview_html import Lists, number, tiles
from .overview_needs import Need, handler_needs, needs, queue, usual_failures
from .paginator import MAX_COUNT
from .permissions import ReadOnly
from .zones import InViewersZone

#: How long one request may count hours of the past.
BUDGET = timedelta(milliseconds=200)
#: The watchdog is behind if a silent task has been due for this long.
BEHIND_AFTER = timedelta(minutes=5)
#: The oldest queued task is looked for among this many, those heard from longest ago.
MOST_QUEUED = 100
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
        """Return the page's address alone: an hour has no page of its own."""
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

    def page(self, request: HttpRequest) -> dict[str, Any]:
        """Return the context of the page."""
        told, lists = look(request, self.admin_site.name)
        # Two hundred times and links ask for the zone, which is found several times as fast if one is set.
        with timezone.override(timezone.get_current_timezone()):
            return self.shown(told, lists)

    def shown(self, told: Figures, lists: Lists) -> dict[str, Any]:
        """Return the context that shows the figures."""
        return {
            "needs": needs(told, lists),
            "usual": usual_failures(told),
            "queue": queue(told),
            "tiles": tiles(told, lists),
            "charts": charts(told, lists),
            "failures": [lists.failure(kind, told) for kind in told.failures[:MOST_SHOWN]],
            "failed": told.day.failed,
            "has_more_failures": told.day.failed > sum(kind.tasks for kind in told.failures[:MOST_SHOWN]),
            "failed_url": lists.ended(Meaning.FAILED, told.day),
            "types": [lists.task_type(one, told) for one in told.types[:MOST_SHOWN]],
            "senders": [lists.sender(one, told) for one in told.senders[:MOST_SHOWN]],
            "handlers": [_handler(one, told, lists) for one in told.handlers],
            "may_see_rejected": lists.may_see["rejecteddelivery"],
            "missing": told.missing,
            "live_seconds": COUNTING_SECONDS if told.missing else REFRESH_SECONDS,
        }


def what_needs_you(request: HttpRequest, site: str) -> list[Need]:
    """Return what the page says needs somebody, for one query if nothing does.

    Failures are judged from the hours, which takes more: only if a task failed in the last day.
    """
    now, may_see = timezone.now(), _may_see(request)
    signs: dict[str, QuerySet[Any]] = {
        "silent": Task.objects.silent(now=now),
        "lost": Task.objects.lost(),
        "failed": Task.objects.failed().heard_within(hour_of(now) - 23 * HOUR, now),
        "any": Task.objects.all(),
    }
    if may_see["rejecteddelivery"]:
        signs["rejected"] = _still_rejected(now)
    signs |= _overdue(now)
    # Whether there is one is enough.
    seen = capped_counts(signs, cap=0, using=Task.objects.db)
    if seen.pop("any") and not any(seen.values()):
        return list(handler_needs(_standings(may_see), now, Lists(site, may_see)))
    return needs(*look(request, site))


def look(request: HttpRequest, site: str) -> tuple[Figures, Lists]:
    """Return the figures, and the lists that they lead to, for what the user may see."""
    now = timezone.now()
    may_see, standing = _may_see(request), _standing(now)
    if standing["sent_again"] and note_those_sent_again():
        standing["still_rejected"] = _still_rejected(now)[: MAX_COUNT + 1].count()
    told = figures(
        counted_hours(now, budget=BUDGET),
        now,
        standing=standing,
        last_events=TaskStatusEvent.objects.last_of_each_source(),
        still_rejected=standing["still_rejected"] if may_see["rejecteddelivery"] else None,
        handlers=_standings(may_see),
        silence_limit=_shortest_limit(),
    )
    return told, Lists(site, may_see)


def _may_see(request: HttpRequest) -> dict[str, bool]:
    names = ("rejecteddelivery", "taskstatusevent", "handler", "reaction")
    return {name: request.user.has_perm(f"sartiq_tasks.view_{name}") for name in names}


def _standings(may_see: Mapping[str, bool]) -> list[Standing]:
    return standings() if may_see["handler"] and declared() else []


def _still_rejected(now: datetime) -> QuerySet[RejectedDelivery]:
    return RejectedDelivery.objects.open().received_since(now - timedelta(days=1))


def _overdue(now: datetime) -> dict[str, QuerySet[Any]]:
    """Return under ``overdue`` what the watchdog has not looked at though it was due, if there is one."""
    return {"overdue": Silence.objects.due(now - BEHIND_AFTER)} if app_settings().watches else {}


def _shortest_limit() -> timedelta | None:
    """Return for how long a task of any type may be silent."""
    limits = app_settings().silence_limits.values()
    return min((limit for limit in limits if limit is not None), default=app_settings().queued_after)


def _standing(now: datetime) -> dict[str, Any]:
    """Return how many tasks are in which state, and since when the first one is queued.

    Under ``still_rejected`` it says how many rejected deliveries of the last day are open, and under
    ``sent_again`` how many have been sent again meanwhile. With a watchdog it says under ``overdue`` how many
    tasks it is behind with.
    """
    rejected = _still_rejected(now)
    counts = Task.objects.counts(
        cap=MAX_COUNT,
        now=now,
        meanings=(Meaning.QUEUED, Meaning.RUNNING, Meaning.OTHER),
        also={
            "held_back": Task.objects.held_back(now),
            "still_rejected": rejected,
            "sent_again": sent_again(),
            **_overdue(now),
        },
    )
    oldest = Task.objects.queued_since(of=MOST_QUEUED) if counts["queued"] else None
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
