"""The page that asks for confirmation before an action."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse

#: What the page's form sends along.
CONFIRMED = "confirmed"
#: At most this many of the objects are named.
_NAMED = 20


def is_confirmed(request: HttpRequest) -> bool:
    """Return whether the user has confirmed on that page."""
    return CONFIRMED in request.POST


def confirmation(
    request: HttpRequest,
    model_admin: admin.ModelAdmin[Any],
    *,
    title: str,
    text: str,
    objects: Sequence[object],
    fields: Iterable[tuple[str, str]],
    back: str,
) -> TemplateResponse:
    """Return a page that says what would be done to ``objects``, and whose form sends ``fields`` again.

    ``back`` is the address of the link that cancels.
    """
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title, "text": text, "objects": objects[:_NAMED], "more": len(objects[_NAMED:]),
        "fields": [*fields, (CONFIRMED, "yes")], "back": back,
        "opts": model_admin.opts, "media": model_admin.media,
    }  # fmt: skip
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/sartiq_tasks/confirmation.html", context)
