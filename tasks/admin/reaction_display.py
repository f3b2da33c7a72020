"""Display a reaction: its state, its change, its attempts and the next one."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..handlers.registry import by_name
from ..handlers.running import max_attempts
from ..models import Reaction
from . import display

_State = Reaction.State
#: The look and the symbol of each state: those of the statuses that mean the same.
_LOOKS = {
    _State.PENDING: ("queued", "◷"),
    _State.DONE: ("succeeded", "✔"),
    _State.DEAD: ("failed", "✖"),
    _State.SKIPPED: ("cancelled", "⊘"),
}
#: The words for a reaction that is not about a status.
_SILENCE = {
    Reaction.Kind.LOST.value: gettext_lazy("marked as lost"),
    Reaction.Kind.FOUND.value: gettext_lazy("heard from again"),
}


def is_running(reaction: Reaction, now: datetime) -> bool:
    """Return whether a worker has it now."""
    return (
        reaction.state == _State.PENDING and reaction.started_at is not None and bool(reaction.due_at > now)
    )


def state_badge(reaction: Reaction, now: datetime) -> SafeString:
    """Return the state as a badge."""
    look, symbol = _LOOKS[_State(reaction.state)]
    told = str(_State(reaction.state).label)
    if is_running(reaction, now):
        look, symbol, told = "running", "▶", _("Running")
    return _badge(look, symbol, told)


@lru_cache(maxsize=64)
def _badge(look: str, symbol: str, told: str) -> SafeString:
    return format_html(
        '<span class="st-badge st-{}"><span aria-hidden="true">{}</span> {}</span>', look, symbol, told
    )


def change(reaction: Reaction) -> str:
    """Return what happened to the task: its status before and after, or the one that it has."""
    if reaction.kind in _SILENCE:
        return str(_SILENCE[reaction.kind])
    if reaction.previous in (None, reaction.status):
        return display.shown(reaction.status)
    return f"{display.shown(reaction.previous)} → {display.shown(reaction.status)}"


def attempts(reaction: Reaction) -> str:
    """Return how many attempts were made, and of how many if the handler is declared."""
    handler = by_name().get(reaction.handler)
    if handler is None:
        return str(reaction.attempt)
    return _("%(made)s of %(most)s") % {"made": reaction.attempt, "most": max_attempts(handler)}


def next_attempt(reaction: Reaction, now: datetime) -> SafeString | str:
    """Return when a worker may take it next."""
    if reaction.state != _State.PENDING:
        return display.EMPTY
    if is_running(reaction, now):
        return _("now")
    if reaction.due_at <= now:
        told = _("due for %(length)s") % {"length": display.in_one_unit(now - reaction.due_at)}
    else:
        told = _("in %(length)s") % {"length": display.in_one_unit(reaction.due_at - now)}
    return display.time_tag(reaction.due_at, told)
