"""From the rows of a statement to model instances, converted as the ORM would convert them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import connections
from django.db.models import Model

_M = TypeVar("_M", bound=Model)


def instance_of_row(
    model: type[_M], row: Sequence[Any], using: str, attnames: tuple[str, ...] | None = None
) -> _M:
    """Return the instance that ``row`` of the database ``using`` holds.

    The row has the columns of ``attnames``, in their order: all of ``model`` unless given. A field
    that is left out is loaded when it is asked for, as with ``QuerySet.only()``.
    """
    names = attnames or attnames_of(model)
    connection = connections[using]
    values = list(row)
    for place in _places_to_convert(model, names, connection.vendor):
        column, converters = _converters(model._meta.get_field(names[place]), using)
        for convert in converters:
            values[place] = convert(values[place], column, connection)
    return model.from_db(using, names, values)


@cache
def attnames_of(model: type[Model]) -> tuple[str, ...]:
    """Return the names of the attributes that hold the columns of ``model``, in order."""
    return tuple(field.attname for field in model._meta.concrete_fields)


@cache
def _places_to_convert(model: type[Model], names: tuple[str, ...], vendor: str) -> tuple[int, ...]:
    """Return where the values of ``names`` are that this kind of database does not return ready for use."""
    using = next(alias for alias in connections if connections[alias].vendor == vendor)
    fields = [model._meta.get_field(name) for name in names]
    return tuple(place for place, field in enumerate(fields) if _converters(field, using)[1])


def _converters(field: Any, using: str) -> tuple[Any, list[Any]]:
    connection = connections[using]
    column = field.get_col(field.model._meta.db_table)
    return column, [*connection.ops.get_db_converters(column), *field.get_db_converters(connection)]
