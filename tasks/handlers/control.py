"""What a person decides: pause and resume handlers, try reactions again, give them up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Min, Q
from django.utils import timezone

from ..models import Handler, Reaction
from ..querysets import ReactionQuerySet
from .claiming import database
from .registry import by_name

#: A handler that no worker was seen to serve for longer is unserved.
UNSERVED_AFTER = timedelta(minutes=3)
# Claims that have begun do not see what becomes due only after them: two never take the same task at once.
_MARGIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a handler stands."""

    name: str
    pending: int
    #: Since when the longest waiting of those that are due has been due.
    oldest: datetime | None
    dead: int
    paused_at: datetime | None
    seen_at: datetime | None
    is_declared: bool

    def troubles(self, now: datetime) -> list[str]:
        """Return what a person should look at."""
        found = [f"{self.dead} dead"] if self.dead else []
        if self.paused_at:
            found.append("paused")
        if not self.is_declared:
            found += ["declared nowhere"] if self.pending else []
        elif self.seen_at is None or now - self.seen_at > UNSERVED_AFTER:
            found.append("no worker")
        return found


def standings() -> list[Standing]:
    """Return every handler that is declared here, or known to the database."""
    using, now = database(), timezone.now()
    known = {one.name: one for one in Handler.objects.using(using).all()}
    counts: dict[str, Any] = {
        row["handler"]: row
        for row in Reaction.objects.using(using)
        .filter(state__in=("pending", "dead"))
        .values("handler")
        .annotate(
            pending=Count("pk", filter=Q(state="pending")),
            dead=Count("pk", filter=Q(state="dead")),
            oldest=Min("due_at", filter=Q(state="pending", due_at__lte=now)),
        )
    }
    names = by_name()
    nothing: Any = {"pending": 0, "dead": 0, "oldest": None}
    return [
        Standing(
            name=name,
            paused_at=known[name].paused_at if name in known else None,
            seen_at=known[name].seen_at if name in known else None,
            is_declared=name in names,
            pending=counts.get(name, nothing)["pending"],
            oldest=counts.get(name, nothing)["oldest"],
            dead=counts.get(name, nothing)["dead"],
        )
        for name in sorted({*names, *known, *counts})
    ]


def pause(name: str) -> None:
    """Let no worker begin a reaction of the handler ``name``; they are stored all the same."""
    now = timezone.now()
    handlers = Handler.objects.using(database())
    handlers.get_or_create(name=name, defaults={"registered_at": now})
    handlers.filter(name=name, paused_at=None).update(paused_at=now)


def resume(name: str) -> None:
    """Let workers go on with the handler ``name``."""
    Handler.objects.using(database()).filter(name=name).update(paused_at=None)


def try_again(reactions: ReactionQuerySet) -> int:
    """Have reactions made once more; return how many. What is being run is left alone."""
    now, changed = timezone.now(), 0
    for one in list(reactions.exclude(state="pending", started_at__isnull=False, due_at__gt=now)):
        # One that is pending is only due earlier. One that has ended begins again, with all its attempts.
        has_ended = one.state != Reaction.State.PENDING
        again = {"excused": F("attempts"), "replays": F("replays") + 1} if has_ended else {}
        changed += _change(one, state=Reaction.State.PENDING, due_at=now + _MARGIN, ended_at=None, **again)
    return changed


def give_up(reactions: ReactionQuerySet) -> int:
    """End reactions that are pending or dead; return how many. What is being run is left alone."""
    now, changed = timezone.now(), 0
    waiting = reactions.filter(state__in=("pending", "dead"))
    for one in list(waiting.exclude(state="pending", started_at__isnull=False, due_at__gt=now)):
        changed += _change(one, state=Reaction.State.SKIPPED, due_at=now, ended_at=now)
    return changed


def _change(one: Reaction, **columns: object) -> int:
    """Change a row if it is still as it was read, and bring forward what was put off with it."""
    reactions = Reaction.objects.using(database())
    with transaction.atomic(using=database()):
        mine = reactions.filter(task_id=one.task_id, pk=one.pk, attempts=one.attempts, state=one.state)
        changed = mine.update(**columns, started_at=None)
        if changed:
            later = reactions.pending().filter(task_id=one.task_id, handler=one.handler, seq__gt=one.seq)
            later.filter(started_at=None, due_at__gt=columns["due_at"]).update(due_at=columns["due_at"])
    return changed
