"""The rows of our own statements: the cursor for them, instances as of the ORM, and whether they changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Model
from django.db.models.base import ModelState

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


class RowsChanged(Exception):
    """A row is not, or may not be, what it was when it was read."""


@dataclass(frozen=True, slots=True)
class RowVersion:
    """A row as it was read; PostgreSQL alone can tell whether it has changed since.

    The version is its system column ``xmin``: the transaction that wrote the row as it is.
    https://www.postgresql.org/docs/current/ddl-system-columns.html
    """

    #: Holds while the row is what it was; its parameters are ``key`` and ``version``.
    condition: str
    key: str
    version: str

    @classmethod
    def of(cls, model: type[Model], key: Any, version: Any, connection: BaseDatabaseWrapper) -> RowVersion:
        """Return the version of the row of ``model`` with ``key``, both as the database gave them."""
        quote = connection.ops.quote_name
        table, column = quote(model._meta.db_table), quote(str(model._meta.pk.column))
        return cls(f"(SELECT xmin FROM {table} WHERE {column}=%s)=%s", str(key), str(version))  # noqa: S608


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


def copy_of(instance: _M) -> _M:
    """Return an instance of the same row, with copies of what it has loaded of related ones.

    ``copy.copy()`` would leave those shared, and takes five times as long.
    """
    copied = object.__new__(type(instance))
    state = ModelState()
    state.adding, state.db = instance._state.adding, instance._state.db
    state.fields_cache = {
        name: related and copy_of(related) for name, related in instance._state.fields_cache.items()
    }
    copied.__dict__.update(instance.__dict__, _state=state)
    return copied


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
