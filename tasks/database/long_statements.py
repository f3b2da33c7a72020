"""A cursor for long statements: none is converted more than once.

psycopg turns ``%s`` into its own placeholders before it sends a statement, and remembers the result only up
to 4,096 bytes and 50 parameters. The statement that records an event is longer, and to convert it takes a
third of a delivery: docs/performance-runs.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import count
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper


def cursor_for_long_statements(connection: BaseDatabaseWrapper) -> CursorWrapper:
    """Return ``connection.cursor()``, with all that a backend or a tool does to it.

    Tools see the statement with ``%s``, as ever. Only the cursor of psycopg within differs, and only in place
    of Django's own. A cursor class of the host's stays.
    """
    session: Any = connection.connection
    factory = getattr(session, "cursor_factory", None)
    if connection.vendor != "postgresql" or factory not in _classes():
        return connection.cursor()
    session.cursor_factory = _classes()[factory]
    try:
        return connection.cursor()
    finally:
        session.cursor_factory = factory


@cache
def _classes() -> Mapping[Any, Any]:
    """Return by Django's class of a cursor the one that takes its place."""
    from django.db.backends.postgresql import base as postgresql

    base: Any = postgresql
    if not hasattr(base, "ServerBindingCursor"):
        return {}  # psycopg2 converts nothing
    from psycopg import RawCursor
    from psycopg.adapt import Transformer

    class BindingInServer(RawCursor[Any]):
        def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
            return super().execute(query if params is None else _numbered(query), params, **kwargs)

    class BindingInClient(base.Cursor):  # type: ignore[misc]
        def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
            if params is not None:
                literal = Transformer(self).as_literal
                query = query.encode() % tuple(b"NULL" if one is None else literal(one) for one in params)
            return super().execute(query, **kwargs)

    return {base.ServerBindingCursor: BindingInServer, base.Cursor: BindingInClient}


@lru_cache(maxsize=256)
def _numbered(statement: str) -> bytes:
    """Return ``statement`` with ``$1``, ``$2`` for each ``%s``."""
    numbers = count(1)
    return re.sub("%[s%]", lambda found: f"${next(numbers)}" if found[0] == "%s" else "%", statement).encode()
