"""The permission to post events."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_backends
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission, PermissionsMixin
from django.db.models import Exists, Model
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from ..conf import app_settings
from ..database.live_connection import on_live_connection
from .confirmation import Condition, alias_to_confirm, condition_that_exists, conditions_of
from .signatures import Signature

__all__ = ("MayPostEvents",)

#: What a user's token needs besides the scope.
ADD_EVENTS = "sartiq_tasks.add_taskstatusevent"


class MayPostEvents(BasePermission):
    """Allow a token with the scope, whose user may add events or which belongs to no user.

    Also allow any valid signature, because it can serve no other purpose.
    """

    message = "Not enough permissions"

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return whether this request may post events."""
        token: Any = request.auth
        if isinstance(token, Signature):
            return True
        if callable(allow_scopes := getattr(token, "allow_scopes", None)):
            if not allow_scopes([app_settings().scope]):
                return False
            if token.user is None:
                return True
            user: Any = token.user
        else:  # other credentials have no scopes: their user decides
            user = request.user
        # With the deadline of the queries around it.
        return on_live_connection(lambda: may_add_events(user, conditions_of(request)))


# Users who had the permission when it was last read, by alias, model and key, each with the condition that
# this is still so. Each process has its own.
_permitted: dict[tuple[str, type[Model], Any], Condition] = {}
_MAX_PERMITTED = 10_000


def may_add_events(user: Any, conditions: list[Condition] | None = None) -> bool:
    """Return whether ``user`` has ``ADD_EVENTS``; if that is cached, add to ``conditions`` that it holds.

    It is cached because ``has_perm()`` loads every permission of the user.
    """
    if not getattr(user, "is_authenticated", True) or not hasattr(user, "has_perm"):
        return False
    if not _django_decides(user) or user.is_superuser:
        return bool(user.has_perm(ADD_EVENTS))
    alias = alias_to_confirm(type(user), Permission)
    if alias is None:
        return bool(user.has_perm(ADD_EVENTS))
    key = (alias, type(user), user.pk)
    if conditions is not None and key in _permitted:
        conditions.append(_permitted[key])
        return True
    _permitted.pop(key, None)
    if not user.has_perm(ADD_EVENTS):
        return False
    if len(_permitted) >= _MAX_PERMITTED:
        _permitted.clear()
    _permitted[key] = _has_permission(user, alias)
    return True


def _django_decides(user: Any) -> bool:
    deciding = [type(backend) for backend in get_backends() if hasattr(backend, "has_perm")]
    return deciding == [ModelBackend] and getattr(type(user), "has_perm", None) is PermissionsMixin.has_perm


def _has_permission(user: Any, using: str) -> Condition:
    # ModelBackend.with_perm() asks the same and takes longer: docs/performance-runs.md.
    app_label, codename = ADD_EVENTS.split(".")
    permission = Permission.objects.using(using).filter(content_type__app_label=app_label, codename=codename)
    own, of_groups = permission.filter(user=user.pk), permission.filter(group__user=user.pk)
    return condition_that_exists(
        type(user)._base_manager.using(using).filter(Exists(own) | Exists(of_groups), pk=user.pk)
    )
