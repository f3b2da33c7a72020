"""What the app has for templates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import template

from ..rejections import count_refused

register = template.Library()


@register.simple_tag(takes_context=True)
def refused_of_last_day(context: dict[str, Any]) -> int | None:
    """Return how many deliveries were refused in the last 24 hours, or None to who may not see them."""
    if not context["request"].user.has_perm("sartiq_tasks.view_rejecteddelivery"):
        return None
    return count_refused(timedelta(days=1))
