"""What a host may name in its ``REST_FRAMEWORK``: each would change the answer of an endpoint that used it.

DRF imports these while it is imported itself, so nothing here needs its views.
"""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, ParseError
from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.throttling import BaseThrottle


class Nobody(BaseAuthentication):
    """Let nobody in."""

    def authenticate(self, request: Any) -> Any:
        """Reject whatever is shown."""
        raise AuthenticationFailed("Nobody comes in here.")


class Nothing(BasePermission):
    """Allow nothing."""

    message = "Nothing is allowed here."

    def has_permission(self, request: Any, view: Any) -> bool:
        """Return that it is not allowed."""
        return False


class Never(BaseThrottle):
    """Throttle every request."""

    def allow_request(self, request: Any, view: Any) -> bool:
        """Return that it is one too many."""
        return False


class Shouting(BaseRenderer):
    """Answer in capitals."""

    media_type, format, charset = "text/shout", "shout", "utf-16"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> Any:
        """Return it in capitals."""
        return str(data).upper()


class Deaf(BaseParser):
    """Understand nothing."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Reject the body."""
        raise ParseError("Nothing is understood here.")


class Stubborn(BaseContentNegotiation):
    """Agree to nothing."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        """Return no parser."""
        return None

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        """Return the last renderer, under another name."""
        return renderers[-1], "text/stubborn"


class Chatty(BaseMetadata):
    """Say something else of every view."""

    def determine_metadata(self, request: Any, view: Any) -> Any:
        """Return something else."""
        return {"chat": "Nice weather."}


def nameless(*args: Any, **kwargs: Any) -> str:
    """Return the name, or the description, of every view."""
    return "odd"


def swallow(error: Exception, context: Any) -> None:
    """Handle no error, as an exception handler."""


def relabel(error: Exception, context: Any) -> Any:
    """Answer each error with 418, as an exception handler."""
    from rest_framework.response import Response

    return Response({"odd": str(error)}, status=418)


class Stranger:
    """A user without anything of Django's."""


def no_token() -> str:
    """Return what a request without credentials has for a token."""
    return "an odd token"
