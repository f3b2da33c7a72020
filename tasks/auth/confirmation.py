"""Confirm cached credentials in the statement that stores the event, which costs no round trip.

The view allows cached credentials for a request that will store an event. Code that decides by something
cached adds the condition under which it still holds, and ``record_event(confirming=...)`` stores the event
only if every condition holds. If one does not, and before anything is rejected, the view reauthenticates
the sender: then nothing cached is used, and the database decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import connections, router
from django.db.models import Exists, Model, QuerySet
from rest_framework.request import Request
from rest_framework.views import APIView

from ..exceptions import Unconfirmed
from ..models import TaskStatusEvent

#: SQL that is true as long as something cached is what the database has, and its parameters.
Condition = tuple[str, Sequence[Any]]
_Result = TypeVar("_Result")


def allow_cached(request: Request) -> None:
    """Let ``request`` be judged by cached credentials. Call this only if every outcome is confirmed."""
    request.cached_credentials = []  # type: ignore[attr-defined]


def conditions_of(request: Any) -> list[Condition] | None:
    """Return the list of conditions to be confirmed, to add to; None if nothing cached may be used."""
    conditions: list[Condition] | None = getattr(request, "cached_credentials", None)
    return conditions


def alias_to_confirm(*models: type[Model]) -> str | None:
    """Return the alias of the database of events if ``models`` are written to it too, otherwise None."""
    alias = router.db_for_write(TaskStatusEvent)
    return alias if all(router.db_for_write(model) == alias for model in models) else None


def condition_that_exists(rows: QuerySet[Any]) -> Condition:
    """Return the condition that ``rows`` has at least one row."""
    query = TaskStatusEvent._base_manager.using(rows.db).query
    sql, values = query.get_compiler(rows.db).compile(Exists(rows).resolve_expression(query))
    return sql, _converted(values, connections[rows.db])


def _converted(values: Sequence[Any], connection: Any) -> Sequence[Any]:
    """Return ``values`` as psycopg sends them, so that it need not convert them at each delivery.

    They are sent as text without a type: PostgreSQL takes the type of what they are compared with.
    """
    if connection.vendor != "postgresql":
        return values
    connection.ensure_connection()
    adapt = connection.Database.adapt
    converter = adapt.Transformer(connection.connection)
    texts = converter.dump_sequence(values, [adapt.PyFormat.TEXT] * len(values))
    return [None if text is None else bytes(text).decode(converter.encoding) for text in texts]


def reauthenticate(view: APIView) -> bool:
    """Authenticate and authorise the sender again without cached credentials; raise what rejects the sender.

    If nothing cached was used, do nothing and return False.
    """
    if not conditions_of(view.request):
        return False
    view.request = view.initialize_request(view.request._request, *view.args, **view.kwargs)
    view.perform_authentication(view.request)
    view.check_permissions(view.request)
    return True


def confirmed(view: APIView, store: Callable[[Sequence[Condition]], _Result]) -> _Result:
    """Return what ``store`` returns for the conditions of the view's request.

    If it raises ``Unconfirmed``, reauthenticate the sender and store without conditions.
    """
    try:
        return store(conditions_of(view.request) or ())
    except Unconfirmed:
        reauthenticate(view)
        return store(())
