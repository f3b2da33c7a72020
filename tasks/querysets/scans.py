"""Reads of a whole column or table, in steps that an index serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import Min, Model, QuerySet

from ..conf import app_settings


def known_values(model: type[Model], column: str, *, using: str, most: int = 100) -> list[str]:
    """Return the distinct values of an indexed text column, sorted, at most ``most``.

    It jumps from each value to the next one in the index (a loose index scan), while a SELECT
    DISTINCT reads the whole table.
    """
    return known_values_of(model, [column], using=using, most=most)[column]


def known_values_of(
    model: type[Model], columns: Sequence[str], *, using: str, most: int = 100
) -> dict[str, list[str]]:
    """Return the ``known_values()`` of several columns, in one query."""
    if app_settings().distributed:
        return {column: _values_one_by_one(model, column, using=using, most=most) for column in columns}
    names = [f"known_{column}" for column in columns]
    walks = ", ".join(map(partial(walk, model, using), columns, names))
    values = " UNION ALL ".join(
        f"SELECT '{column}', value FROM {name} WHERE value IS NOT NULL"  # noqa: S608 (names of columns)
        for column, name in zip(columns, names, strict=True)
    )
    known: dict[str, list[str]] = {column: [] for column in columns}
    with connections[using].cursor() as cursor:
        cursor.execute(f"WITH RECURSIVE {walks} {values}", [most] * len(columns))
        for column, value in cursor.fetchall():
            known[column].append(value)
    return known


def walk(model: type[Model], using: str, column: str, name: str) -> str:
    """Return a recursive query by the name of ``name``: the distinct values of a column and a NULL.

    Its parameter is how many there are at most. IS NOT NULL is what lets a partial index serve.
    """
    quote = connections[using].ops.quote_name
    table, value = quote(model._meta.db_table), quote(column)
    return f"""{name}(value, place) AS (
            SELECT MIN({value}), 1 FROM {table} WHERE {value} IS NOT NULL
            UNION ALL
            SELECT (SELECT MIN({value}) FROM {table} WHERE {value} > {name}.value), place + 1
            FROM {name} WHERE {name}.value IS NOT NULL AND place < %s
        )"""  # noqa: S608 (the only variable parts are the names of a table and a column)


def capped_counts(counted: Mapping[str, QuerySet[Any]], *, cap: int, using: str) -> dict[str, int]:
    """Return how many rows each of ``counted`` has, in one query.

    No count goes beyond ``cap`` + 1, which stands for "more than ``cap``".
    """
    selects: list[str] = []
    parameters: list[Any] = []
    for rows in counted.values():
        try:
            sql, values = sql_of(rows.order_by().values("pk")[: cap + 1], using=using)
        except EmptyResultSet:  # the filters contradict each other
            selects.append("0")
            continue
        selects.append(f"(SELECT COUNT(*) FROM ({sql}) AS counted)")  # noqa: S608 (the ORM's own SQL)
        parameters += values
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(selects)}", parameters)
        return dict(zip(counted, cursor.fetchone(), strict=True))


def sql_of(rows: QuerySet[Any], *, using: str) -> tuple[str, tuple[Any, ...]]:
    """Return the SQL of ``rows`` and its parameters, for the database ``using``.

    ``Query.sql_with_params()`` writes it for the default database, which may be of another kind.
    """
    sql, values = rows.query.get_compiler(using).as_sql()
    return sql, tuple(values)


def counts_by(rows: QuerySet[Any], column: str, *, total: str) -> list[tuple[Any, int, int]]:
    """Return the values of a column in limited rows, how many have each, and the sum of ``total`` in these.

    The ORM groups limited rows only by joining them to their table.
    """
    try:
        sql, values = sql_of(rows.values(column, total), using=rows.db)
    except EmptyResultSet:  # the filters contradict each other
        return []
    grouped = f"""
        SELECT {column}, COUNT(*), SUM({total}) FROM ({sql}) AS limited GROUP BY {column} ORDER BY {column}
    """  # noqa: S608 (names of columns and the ORM's own SQL)
    with connections[rows.db].cursor() as cursor:
        cursor.execute(grouped, values)
        return [(value, number, int(sum_of)) for value, number, sum_of in cursor.fetchall()]


def _values_one_by_one(model: type[Model], column: str, *, using: str, most: int) -> list[str]:
    """Do as ``known_values()`` with a query for each: Citus runs a recursive one for a single task only."""
    rows: QuerySet[Any] = model._default_manager.using(using).filter(**{f"{column}__isnull": False})
    values: list[str] = []
    while len(values) < most:
        greater = rows.filter(**{f"{column}__gt": values[-1]}) if values else rows
        value = greater.aggregate(value=Min(column))["value"]
        if value is None:
            break
        values.append(value)
    return values


def in_batches(rows: QuerySet[Any], *, size: int = 2000) -> Iterator[Any]:
    """Yield all rows, the greatest primary key first, in constant memory and without a long transaction.

    Each batch is a query of its own that goes on where the last one ended, so that a slow reader holds up
    neither a pooler in transaction mode nor SQLite's writers.
    """
    rows = rows.order_by("-pk")
    batch = list(rows[:size])
    while batch:
        yield from batch
        batch = list(rows.filter(pk__lt=batch[-1].pk)[:size]) if len(batch) == size else []
