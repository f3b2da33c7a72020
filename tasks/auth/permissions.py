"""What a sender may do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

from django.contrib.auth import get_backends
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission, PermissionsMixin
from django.db import connections, router
from django.db.models import Exists, Model, OuterRef, Value
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from ..conf import app_settings
from ..database.live_connection import on_live_connection
from ..database.row_version import kept_cursor
from .signatures import Signature

#: What a user's token needs besides the scope.
ADD_EVENTS = "sartiq_tasks.add_taskstatusevent"


class MayPostEvents(BasePermission):
    """The token has the scope, and its user, where it belongs to one, may add events.

    A signature is made for nothing else, so that one that is good suffices.
    """

    message = "Not enough permissions"

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return whether this request may post events."""
        token: Any = request.auth
        if isinstance(token, Signature):
            return True
        if token is None or not token.allow_scopes([app_settings().scope]):
            return False
        # As bounded in time as the queries before and after it.
        return token.user is None or on_live_connection(lambda: may_add_events(token.user))


def may_add_events(user: Any) -> bool:
    """Return what ``user.has_perm(ADD_EVENTS)`` returns.

    Where Django's own backend decides alone it takes one prepared query. ``has_perm()`` compiles
    two each time, to load all that the user may do: twice as much work as the rest of a delivery.
    """
    if not _django_decides(user) or user.is_superuser or not user.is_active:
        return bool(user.has_perm(ADD_EVENTS))
    connection = connections[router.db_for_read(Permission, instance=user)]
    sql, (_, *others) = _select_user_who_may(user._meta.model, connection.alias)
    cursor = kept_cursor(connection)
    cursor.execute(sql, [user._meta.pk.get_db_prep_value(user.pk, connection), *others])
    return cursor.fetchone() is not None


def _django_decides(user: Any) -> bool:
    deciding = [type(backend) for backend in get_backends() if hasattr(backend, "has_perm")]
    return deciding == [ModelBackend] and type(user).has_perm is PermissionsMixin.has_perm


@cache
def _select_user_who_may(users: type[Model], using: str) -> tuple[str, Sequence[Any]]:
    """Return the query for a user who is found only with the permission, and its parameters.

    The first one is the user's key, of whatever type that is.
    """
    app_label, codename = ADD_EVENTS.split(".")
    permission = Permission.objects.filter(content_type__app_label=app_label, codename=codename)
    own = permission.filter(user=OuterRef("pk"))
    of_groups = permission.filter(group__user=OuterRef("pk"))
    user = users._base_manager.using(using).filter(pk=Value("")).filter(Exists(own) | Exists(of_groups))
    return cast("tuple[str, Sequence[Any]]", user.values_list("pk").query.get_compiler(using).as_sql())
