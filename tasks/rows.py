"""From the rows of a statement to model instances, converted as the ORM would convert them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

_M = TypeVar("_M", bound=Model)


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
