"""What the app has for templates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import template
from django.contrib.admin.templatetags.admin_list import result_headers, result_list

from ..rejections import count_rejected

register = template.Library()


@register.simple_tag(takes_context=True)
def rejected_of_last_day(context: dict[str, Any]) -> int | None:
    """Return how many deliveries were rejected in the last 24 hours, or None to who may not see them."""
    if not context["request"].user.has_perm("sartiq_tasks.view_rejecteddelivery"):
        return None
    return count_rejected(timedelta(days=1))


@register.inclusion_tag("admin/change_list_results.html")
def record_list(cl: Any) -> dict[str, Any]:
    """Show a list's rows as ``{% result_list %}`` does, each of them made at once."""
    if cl.is_popup:
        return dict(result_list(cl))
    headers = list(result_headers(cl))
    return {
        "result_headers": headers,
        "num_sorted_fields": sum(header["sortable"] and header["sorted"] for header in headers),
        "results": [[row] for row in cl.rows()],
    }
