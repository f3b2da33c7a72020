"""A cursor for long statements: each is converted once.

psycopg turns ``%s`` into ``$1`` before it sends a statement, and remembers the result only up to 4,096 bytes
and 50 parameters. The statement that records an event is longer if it confirms a user's permission or
stores reactions, and to convert it takes a third of such a delivery: docs/performance-runs.md.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import count
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper


def cursor_for_long_statements(connection: BaseDatabaseWrapper) -> CursorWrapper:
    """Return ``connection.cursor()``, with all that a backend or a tool does to it.

    Tools see the statement with ``%s``, as ever. Only the cursor of psycopg within differs, and only where it
    would be Django's own for parameters that PostgreSQL binds (``server_side_binding``). A cursor class of
    the host's own stays.
    """
    session: Any = connection.connection
    factory = getattr(session, "cursor_factory", None)
    if connection.vendor != "postgresql" or factory is not _djangos_class():
        return connection.cursor()
    session.cursor_factory = _own_class()
    try:
        return connection.cursor()
    finally:
        session.cursor_factory = factory


@cache
def _djangos_class() -> Any:
    from django.db.backends.postgresql import base

    return getattr(base, "ServerBindingCursor", base)  # psycopg2 has none


@cache
def _own_class() -> Any:
    from psycopg import RawCursor

    class LongStatementCursor(RawCursor[Any]):
        def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
            return super().execute(query if params is None else _numbered(query), params, **kwargs)

    return LongStatementCursor


@lru_cache(maxsize=256)
def _numbered(statement: str) -> bytes:
    """Return ``statement`` with ``$1``, ``$2`` for each ``%s``."""
    numbers = count(1)
    return re.sub("%[s%]", lambda found: f"${next(numbers)}" if found[0] == "%s" else "%", statement).encode()
