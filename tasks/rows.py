"""From the rows of a statement to model instances, converted as the ORM would convert them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import connections
from django.db.models import Field, Model

_M = TypeVar("_M", bound=Model)


def instance_of_row(model: type[_M], row: Sequence[Any], using: str) -> _M:
    """Return the instance that ``row`` of the database ``using`` holds.

    The row has the columns of all concrete fields of ``model``, in their order.
    """
    connection = connections[using]
    values = list(row)
    for place in _places_to_convert(model, connection.vendor):
        column, converters = _converters(model._meta.concrete_fields[place], using)
        for convert in converters:
            values[place] = convert(values[place], column, connection)
    return model.from_db(using, [field.attname for field in model._meta.concrete_fields], values)


@cache
def _places_to_convert(model: type[Model], vendor: str) -> tuple[int, ...]:
    """Return where the values of ``model`` are that this kind of database does not return ready for use."""
    using = next(alias for alias in connections if connections[alias].vendor == vendor)
    fields = enumerate(model._meta.concrete_fields)
    return tuple(place for place, field in fields if _converters(field, using)[1])


def _converters(field: Field[Any, Any], using: str) -> tuple[Any, list[Any]]:
    connection = connections[using]
    column = field.get_col(field.model._meta.db_table)
    return column, [*connection.ops.get_db_converters(column), *field.get_db_converters(connection)]
