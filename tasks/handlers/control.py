"""What a person can decide: pause and resume handlers, try reactions again, give them up."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from ..models import Handler, Reaction
from ..querysets import ReactionQuerySet
from .claiming import CLAIM_MARGIN
from .sql import database


def pause(name: str) -> None:
    """Keep workers from beginning reactions of the handler ``name``, which are still stored."""
    now = timezone.now()
    handlers = Handler.objects.using(database())
    handlers.get_or_create(name=name, defaults={"registered_at": now})
    handlers.filter(name=name, paused_at=None).update(paused_at=now)


def resume(name: str) -> None:
    """Let workers go on with the handler ``name``."""
    Handler.objects.using(database()).filter(name=name).update(paused_at=None)


def try_again(reactions: ReactionQuerySet) -> int:
    """Have reactions run once more; return how many. Those that are running are left alone."""
    changed = 0
    for one in _idle(reactions):
        # A pending one only becomes due earlier. One that has ended begins again, with all its attempts.
        has_ended = one.state != Reaction.State.PENDING
        again = {"excused": F("attempts"), "replays": F("replays") + 1} if has_ended else {}
        due_at = timezone.now() + CLAIM_MARGIN  # of each, because there may be many
        changed += _change(one, state=Reaction.State.PENDING, due_at=due_at, ended_at=None, **again)
    return changed


def give_up(reactions: ReactionQuerySet) -> int:
    """End reactions that are pending or dead; return how many. Those that are running are left alone."""
    now, changed = timezone.now(), 0
    for one in _idle(reactions.filter(state__in=("pending", "dead"))):
        changed += _change(one, state=Reaction.State.SKIPPED, due_at=now, ended_at=now)
    return changed


def _idle(reactions: ReactionQuerySet) -> list[Reaction]:
    """Return those that are not running, of a task in its order: a later one must not be due alone."""
    running = {"state": "pending", "started_at__isnull": False, "due_at__gt": timezone.now()}
    return list(reactions.exclude(**running).order_by("seq").defer("error"))


def _change(one: Reaction, **columns: object) -> int:
    """Change a row unless it has changed since it was read, and bring forward what was put off with it."""
    reactions = Reaction.objects.using(database())
    with transaction.atomic(using=database()):
        mine = reactions.filter(task_id=one.task_id, pk=one.pk, attempts=one.attempts, state=one.state)
        changed = mine.update(**columns, started_at=None)
        if changed:
            later = reactions.pending().filter(task_id=one.task_id, handler=one.handler, seq__gt=one.seq)
            later.filter(started_at=None, due_at__gt=columns["due_at"]).update(due_at=columns["due_at"])
    return changed
