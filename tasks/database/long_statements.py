"""A cursor for long statements: none is converted more than once, and a session learns its types once.

psycopg turns ``%s`` into its own placeholders before it sends a statement, and remembers the result only up
to 4,096 bytes and 50 parameters. The statement that records an event is longer, and to convert it takes a
third of a delivery. A new cursor looks up again how each type is sent and read, which takes a twentieth:
docs/performance-runs.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import count
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

#: The attribute of psycopg's connection in which it keeps a cursor of ours.
KEPT = "sartiq_tasks_cursor"


def cursor_for_long_statements(connection: BaseDatabaseWrapper) -> CursorWrapper:
    """Return ``connection.cursor()``, with all that a backend or a tool does to it.

    Tools see the statement with ``%s``, as ever. Only the cursor of psycopg within differs, and only in place
    of Django's own. A cursor class of the host's stays.
    """
    session: Any = connection.connection
    factory = getattr(session, "cursor_factory", None)
    if connection.vendor != "postgresql" or factory not in _factories():
        return connection.cursor()
    session.cursor_factory = _factories()[factory]
    try:
        return connection.cursor()
    finally:
        session.cursor_factory = factory


@cache
def _factories() -> Mapping[Any, Any]:
    """Return by Django's class of a cursor what makes the one in its place."""
    from django.db.backends.postgresql import base as postgresql

    base: Any = postgresql
    if not hasattr(base, "ServerBindingCursor"):
        return {}  # psycopg2 converts nothing
    from psycopg import RawCursor
    from psycopg.adapt import Transformer

    class BindingInServer(RawCursor[Any]):
        #: Set while it is lent to one of Django's cursors, which closes it.
        is_lent = False

        @classmethod
        def of_session(cls, session: Any, **options: Any) -> Any:
            """Return the one that the session keeps, or a new one if that is lent, and keep it."""
            cursor = getattr(session, KEPT, None)
            if cursor is None or cursor.is_lent:
                cursor = cls(session, **options)
                setattr(session, KEPT, cursor)
            cursor.is_lent = True
            return cursor

        def close(self) -> None:
            """Stay open for the next statement."""
            self.is_lent = False

        def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
            return super().execute(query if params is None else _numbered(query), params, **kwargs)

    class BindingInClient(base.Cursor):  # type: ignore[misc]
        def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
            if params is not None:
                literal = Transformer(self).as_literal
                query = query.encode() % tuple(b"NULL" if one is None else literal(one) for one in params)
            return super().execute(query, **kwargs)

    return {base.ServerBindingCursor: BindingInServer.of_session, base.Cursor: BindingInClient}


@lru_cache(maxsize=256)
def _numbered(statement: str) -> bytes:
    """Return ``statement`` with ``$1``, ``$2`` for each ``%s``."""
    numbers = count(1)
    return re.sub("%[s%]", lambda found: f"${next(numbers)}" if found[0] == "%s" else "%", statement).encode()
