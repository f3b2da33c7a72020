"""The time zone of the admin's pages: the server's, or the one that the viewer has switched to."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from django.template.response import SimpleTemplateResponse
from django.urls import URLPattern
from django.utils import timezone

#: The cookie in which ``zone.js`` stores the name of the viewer's zone.
COOKIE = "sartiq_tasks_zone"


def chosen_zone(request: HttpRequest) -> ZoneInfo | None:
    """Return the zone that the viewer has switched to, or None."""
    name = request.COOKIES.get(COOKIE, "")
    try:
        return ZoneInfo(name) if name else None
    # zoneinfo looks for files by that name, which may be an unknown word, a path or a directory.
    except (LookupError, OSError, ValueError):
        return None


class InViewersZone:
    """Show times, and read ranges of times, in the viewer's zone on every page of a model's admin."""

    @property
    def urls(self) -> list[URLPattern]:
        """Return the addresses, each of whose views answers in the zone."""
        patterns: list[Any] = super().urls  # type: ignore[misc]
        # A host's subclass may include more than views.
        for pattern in (one for one in patterns if isinstance(one, URLPattern)):
            pattern.callback = _in_viewers_zone(pattern.callback)
        return patterns


def _in_viewers_zone(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def in_zone(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        zone = chosen_zone(request)
        if zone is None:
            return view(request, *args, **kwargs)
        with timezone.override(zone):
            response = view(request, *args, **kwargs)
            # Django would render the template after the view, when the zone is no longer set.
            return response.render() if isinstance(response, SimpleTemplateResponse) else response

    return in_zone
