"""The rows of our own statements: the cursor for them, and instances converted as the ORM would."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Model

_M = TypeVar("_M", bound=Model)


def kept_cursor(connection: Any) -> CursorWrapper:
    """Return a cursor that is not to be closed: PostgreSQL's is one a connection, used again and again.

    Its row is to be fetched before the next statement. A new cursor for each statement costs a
    delivery 6 % of its processor. On SQLite, where one left open would keep a lock, it is new.
    """
    if connection.vendor != "postgresql":
        return cast("CursorWrapper", connection.cursor())
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    kept = getattr(connection, "sartiq_tasks_cursor", None)
    if kept is None or kept.connection is not connection.connection:
        with connection.wrap_database_errors:
            kept = connection.sartiq_tasks_cursor = connection.create_cursor()
    wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    return cast("CursorWrapper", wrap(kept))


def instance_of_row(
    model: type[_M],
    row: Sequence[Any],
    connection: BaseDatabaseWrapper,
    attnames: tuple[str, ...] | None = None,
) -> _M:
    """Return the instance that ``row`` of the database ``connection`` holds.

    The row has the columns of ``attnames``, in their order: all of ``model`` unless given. A field
    that is left out is loaded when it is asked for, as with ``QuerySet.only()``.
    """
    names = attnames or attnames_of(model)
    values = list(row)
    for place, column, converters in _conversions(model, names, connection.vendor):
        for convert in converters:
            values[place] = convert(values[place], column, connection)
    return model.from_db(connection.alias, names, values)


@cache
def attnames_of(model: type[Model]) -> tuple[str, ...]:
    """Return the names of the attributes that hold the columns of ``model``, in order."""
    return tuple(field.attname for field in model._meta.concrete_fields)


@cache
def _conversions(
    model: type[Model], names: tuple[str, ...], vendor: str
) -> tuple[tuple[int, Any, list[Any]], ...]:
    """Return how the values are converted that this kind of database does not return ready for use."""
    connection = next(connections[alias] for alias in connections if connections[alias].vendor == vendor)
    found = []
    for place, name in enumerate(names):
        field: Any = model._meta.get_field(name)
        column = field.get_col(model._meta.db_table)
        converters = [*connection.ops.get_db_converters(column), *field.get_db_converters(connection)]
        if converters:
            found.append((place, column, converters))
    return tuple(found)
