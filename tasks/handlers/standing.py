"""How each handler stands: its pending, late and dead reactions, its pause, its last worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Count, Min, Q
from django.utils import timezone

from ..conf import app_settings
from ..models import Handler, Reaction
from .registry import by_name
from .sql import database

#: A handler is unserved if no worker was seen to serve it for longer than this.
UNSERVED_AFTER = timedelta(minutes=3)
#: A handler is late if a reaction has been due for longer than this.
LATE_AFTER = timedelta(minutes=5)
#: Counts of a handler's reactions stop at one more than this, which means "more".
MAX_COUNT = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """How one handler stands."""

    name: str
    #: How many are pending, and how many are dead; up to ``MAX_COUNT`` + 1.
    pending: int
    dead: int
    #: Since when the longest due reaction has been due.
    oldest: datetime | None
    paused_at: datetime | None
    #: When a worker that serves it was last seen.
    seen_at: datetime | None
    is_declared: bool

    def is_unserved(self, now: datetime) -> bool:
        """Return whether it is declared, but no worker was seen lately."""
        return self.is_declared and (self.seen_at is None or now - self.seen_at > UNSERVED_AFTER)

    def is_late(self, now: datetime) -> bool:
        """Return whether a reaction has been due for longer than ``LATE_AFTER``."""
        return self.oldest is not None and now - self.oldest > LATE_AFTER

    @property
    def is_gone(self) -> bool:
        """Whether no app declares it any more, though it has pending or dead reactions."""
        return not self.is_declared and bool(self.pending or self.dead)

    def troubles(self, now: datetime) -> list[str]:
        """Return what a person should look at."""
        found = [f"{self.dead} dead"] if self.dead else []
        if self.paused_at:
            found.append("paused")
        if self.is_gone:
            found.append("declared nowhere")
        elif self.is_unserved(now):
            found.append("no worker")
        return found


def standings() -> list[Standing]:
    """Return how every handler stands that is declared here or known to the database, by name.

    This is one query, which no number of reactions slows down: it jumps from handler to handler in an
    index, and counts at most ``MAX_COUNT`` + 1 of each. If ``declared()`` is empty, callers can skip it.
    """
    known = {str(row[0]): row[1:] for row in _known(timezone.now())}
    names = by_name()
    return [
        Standing(
            name,
            **dict(zip(_COLUMNS, known.get(name, (0, 0, None, None, None)), strict=True)),
            is_declared=name in names,
        )
        for name in sorted({*names, *known})
    ]


_COLUMNS = ("pending", "dead", "oldest", "paused_at", "seen_at")


def _known(now: datetime) -> list[tuple[Any, ...]]:
    """Return a row for each handler that the database knows: its name and ``_COLUMNS``."""
    if app_settings().distributed:
        return _counted(now)
    connection = connections[database()]
    reactions, handlers = Reaction._meta.db_table, Handler._meta.db_table

    def names(state: str) -> str:
        # As known_values() does: a SELECT DISTINCT would read every row.
        return f"""
            SELECT MIN(handler) FROM {reactions} WHERE state = '{state}'
            UNION ALL
            SELECT (SELECT MIN(handler) FROM {reactions} WHERE state = '{state}' AND handler > {state}.name)
            FROM {state} WHERE {state}.name IS NOT NULL
        """

    def count(state: str) -> str:
        found = f"SELECT 1 FROM {reactions} WHERE handler = known.name AND state = '{state}'"
        return f"(SELECT COUNT(*) FROM ({found} LIMIT {MAX_COUNT + 1}) AS counted)"

    statement = f"""
        WITH RECURSIVE pending(name) AS ({names("pending")}), dead(name) AS ({names("dead")}),
        known(name) AS (
            SELECT name FROM {handlers} UNION SELECT name FROM pending UNION SELECT name FROM dead
        )
        SELECT known.name, {count("pending")}, {count("dead")},
        (
            SELECT MIN(due_at) FROM {reactions}
            WHERE handler = known.name AND state = 'pending' AND due_at <= %s
        ),
        h.paused_at, h.seen_at
        FROM known LEFT JOIN {handlers} h ON h.name = known.name WHERE known.name IS NOT NULL
    """
    with connection.cursor() as cursor:
        cursor.execute(statement, [connection.ops.adapt_datetimefield_value(now)])
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return [(*row[:3], *(_time(value, connection) for value in row[3:])) for row in rows]


def _counted(now: datetime) -> list[tuple[Any, ...]]:
    """Do as ``_known()``, by counting every pending and dead one: Citus runs its query for one task only."""
    waiting = Reaction.objects.using(database()).filter(state__in=("pending", "dead")).order_by()
    counted = waiting.values_list("handler").annotate(
        pending=Count("seq", filter=Q(state="pending")),
        dead=Count("seq", filter=Q(state="dead")),
        oldest=Min("due_at", filter=Q(state="pending", due_at__lte=now)),
    )
    found = {
        name: (min(pending, MAX_COUNT + 1), min(dead, MAX_COUNT + 1), oldest)
        for name, pending, dead, oldest in counted
    }
    handlers = Handler.objects.using(database()).values_list("name", "paused_at", "seen_at")
    known = {name: times for name, *times in handlers}
    return [
        (name, *found.get(name, (0, 0, None)), *known.get(name, (None, None))) for name in {*found, *known}
    ]


def _time(value: Any, connection: Any) -> Any:
    """Convert a column's value as the ORM does: SQLite stores times as text."""
    column = Reaction._meta.get_field("due_at").get_col(Reaction._meta.db_table)
    for convert in connection.ops.get_db_converters(column):
        value = convert(value, column, connection)
    return value
