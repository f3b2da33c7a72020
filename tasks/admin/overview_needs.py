"""The conclusion of the overview: a sentence for each thing that needs somebody, with its address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..handlers.standing import Standing
from ..lifecycle import Meaning
from .overview_figures import Figures
from .overview_html import Lists, about, kind_name, number, percentage
from .paginator import MAX_COUNT

#: Up to this many new kinds of failure have a line each.
MOST_NEW = 3


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that needs somebody."""

    text: str
    url: str | None


def needs(told: Figures, lists: Lists) -> list[Need]:
    """Return what needs somebody, the most urgent first."""
    if not told.senders:
        return [Need(_("No sender has sent anything yet."), None)]
    return [
        *_silence(told, lists),
        *_failures(told, lists),
        *_rejections(told, lists),
        *handler_needs(told.handlers, told.now, lists),
    ]


def usual_failures(told: Figures) -> str:
    """Return why the failures of the last day need nobody; nothing if they do, or if nothing failed."""
    if told.missing or told.failures_need_you or not told.day.failed:
        return ""
    rate, usual = told.day.rate, told.week_before.rate
    if usual is None:
        text = _("%(rate)s of the tasks failed. There is no week before to compare that with.")
        return text % {"rate": percentage(rate)}
    text = _("No more tasks fail than usual: %(rate)s, and %(usual)s in the week before.")
    return text % {"rate": percentage(rate), "usual": percentage(usual)}


def queue(told: Figures) -> str:
    """Return how long the task that was queued first has waited; nothing if none is queued."""
    count, since = told.standing["queued"], told.standing["oldest"]
    if not count or since is None:
        return ""
    text = ngettext(
        "%(count)s task is queued, for %(length)s.",
        "%(count)s tasks are queued, the oldest for %(length)s.",
        count,
    )
    return text % {"count": number(count, MAX_COUNT), "length": about(told.now - since)}


def _silence(told: Figures, lists: Lists) -> Iterator[Need]:
    silent = told.standing["silent"]
    if silent and told.is_all_silent and told.last_heard is not None:
        text = ngettext(
            "No sender has sent anything for %(length)s: the link or the senders may be down. %(count)s "
            "task is silent.",
            "No sender has sent anything for %(length)s: the link or the senders may be down. %(count)s "
            "tasks are silent.",
            silent,
        )
        values = {"length": about(told.now - told.last_heard), "count": number(silent, MAX_COUNT)}
        yield Need(text % values, lists.tasks(silent="1"))
    elif silent:
        text = ngettext(
            "%(count)s task is silent: it has sent nothing for longer than it should.",
            "%(count)s tasks are silent: they have sent nothing for longer than they should.",
            silent,
        )
        yield Need(text % {"count": number(silent, MAX_COUNT)}, lists.tasks(silent="1"))
    if lost := told.standing["lost"]:
        text = ngettext("%(count)s task is marked as lost.", "%(count)s tasks are marked as lost.", lost)
        yield Need(text % {"count": number(lost, MAX_COUNT)}, lists.tasks(silent="lost"))
    if held_back := told.standing["held_back"]:
        text = ngettext(
            "%(count)s task is not marked as lost yet: no task is heard from, or too many would be marked.",
            "%(count)s tasks are not marked as lost yet: no task is heard from, or too many would be marked.",
            held_back,
        )
        yield Need(text % {"count": number(held_back, MAX_COUNT)}, lists.tasks(silent="held"))
    if overdue := told.standing.get("overdue"):
        text = ngettext(
            "The watchdog is behind with %(count)s task. Is run_handlers running?",
            "The watchdog is behind with %(count)s tasks. Is run_handlers running?",
            overdue,
        )
        yield Need(text % {"count": number(overdue, MAX_COUNT)}, None)


def _failures(told: Figures, lists: Lists) -> Iterator[Need]:
    if told.fails_more:
        rates: dict[str, Any] = {
            "rate": percentage(told.day.rate), "usual": percentage(told.week_before.rate)
        }  # fmt: skip
        text = _("%(rate)s of the tasks failed in the last 24 hours, %(usual)s in the week before.") % rates
        yield Need(text, lists.ended(Meaning.FAILED, told.day))
    for kind in told.new_failures[:MOST_NEW]:
        text = ngettext(
            "A new failure: “%(name)s”, %(count)s task.",
            "A new failure: “%(name)s”, %(count)s tasks.",
            kind.tasks,
        )
        yield Need(text % {"name": kind_name(kind), "count": kind.tasks}, lists.kind(kind, told))


def _rejections(told: Figures, lists: Lists) -> Iterator[Need]:
    if told.still_rejected:
        text = ngettext(
            "%(count)s delivery of the last 24 hours was rejected, and neither sent again nor settled.",
            "%(count)s deliveries of the last 24 hours were rejected, and neither sent again nor settled.",
            told.still_rejected,
        )
        url = lists.rejected(received_at="24h", outcome="open")
        yield Need(text % {"count": number(told.still_rejected, MAX_COUNT)}, url)


def handler_needs(handlers: Iterable[Standing], now: datetime, lists: Lists) -> Iterator[Need]:
    """Yield what is wrong with handlers; that no worker serves several is one thing."""
    handlers = list(handlers)
    unserved = [one.name for one in handlers if one.is_unserved(now)]
    if len(unserved) > 1:
        told = _("No worker serves %s handlers. Is run_handlers running?")
        yield Need(told % len(unserved), lists.handlers())
    for one in handlers:
        if one.dead:
            text = ngettext(
                "The handler %(name)s gave up on %(count)s reaction.",
                "The handler %(name)s gave up on %(count)s reactions.",
                one.dead,
            )
            url = lists.reactions(handler=one.name, state="dead")
            yield Need(text % {"name": one.name, "count": number(one.dead, MAX_COUNT)}, url)
        troubles = (
            (unserved == [one.name], _("No worker serves the handler %s.")),
            (_is_late(one, now), _("The handler %s is late.")),
            (one.is_gone, _("Reactions wait for the handler %s, which no app declares.")),
            (one.paused_at, _("The handler %s is paused.")),
        )
        for is_so, text in troubles:
            if is_so:
                yield Need(text % one.name, lists.handlers())


def _is_late(one: Standing, now: datetime) -> bool:
    """Return whether a handler is late for no other reason that is told."""
    has_reason = not one.is_declared or one.paused_at or one.is_unserved(now)
    return one.is_late(now) and not has_reason
