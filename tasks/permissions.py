"""What a sender may do."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from .conf import app_settings
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
        return token.user is None or token.user.has_perm(ADD_EVENTS)
