"""Parts of the SQL by which reactions are claimed, held and put off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from ..conf import app_settings
from ..models import Reaction

TABLE = Reaction._meta.db_table
COLUMNS = tuple(str(field.column) for field in Reaction._meta.concrete_fields)


@dataclass(frozen=True, slots=True)
class Which:
    """Which reactions a claim may take: see ``claim()``."""

    suspects: bool = False
    among: Sequence[int] | None = None
    as_of: datetime | None = None


def database() -> str:
    """Return the alias of the database that reactions are written to."""
    return router.db_for_write(Reaction)


def moment(
    connection: BaseDatabaseWrapper, as_of: datetime | None, *, plus: timedelta = timedelta()
) -> tuple[str, list[Any]]:
    """Return SQL for ``as_of`` and its parameters: if it is None, for now by the clock that workers share."""
    if is_postgresql(connection) and as_of is None:
        return f"statement_timestamp() + interval '{plus.total_seconds():f} seconds'", []
    moment = (as_of or timezone.now()) + plus
    return "%s", [connection.ops.adapt_datetimefield_value(moment)]


def any_of(connection: BaseDatabaseWrapper, picked: str) -> str:
    """Return the condition that an id is one of those that the query ``picked`` returns."""
    # PostgreSQL makes an array once, but may run a subquery that locks and limits again for each row.
    return f"= ANY(ARRAY({picked}))" if is_postgresql(connection) else f"IN ({picked})"


def skip_locked(connection: BaseDatabaseWrapper) -> str:
    """Return the end of a query that locks the rows it picks, and skips those that are locked already."""
    return "FOR UPDATE SKIP LOCKED" if is_postgresql(connection) else ""


def marks(values: Sequence[object]) -> str:
    """Return a placeholder for each of ``values``."""
    return ",".join("%s" for _ in values) or "NULL"


def is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    """Return whether this is PostgreSQL rather than SQLite."""
    return connection.vendor == "postgresql"


def locks_rows(connection: BaseDatabaseWrapper) -> bool:
    """Return whether one statement can lock rows of several tasks, and change several tables."""
    return is_postgresql(connection) and not app_settings().distributed


def fetch(connection: BaseDatabaseWrapper, statement: str, parameters: list[Any]) -> list[Reaction]:
    """Return the reactions that ``statement`` changed, in order."""
    # RawQuerySet converts the columns as the ORM does.
    rows = Reaction.objects.using(connection.alias).raw(statement, parameters)
    return sorted(rows, key=lambda one: (one.created_at, one.seq, one.pk))
