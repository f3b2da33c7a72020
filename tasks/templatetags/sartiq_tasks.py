"""What the admin's templates need.

Django imports this module in every backend, even in one without its admin, which cannot import ``..admin``:
so each tag imports what it needs when it is used.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import template
from django.utils import timezone
from django.utils.safestring import mark_safe

from ..rejections import count_rejected

if TYPE_CHECKING:
    from ..admin.overview_needs import Need

register = template.Library()


@register.simple_tag(takes_context=True)
def rejected_of_last_day(context: dict[str, Any]) -> int | None:
    """Return how many deliveries were rejected in the last 24 hours, or None if the user may not see them."""
    if not context["request"].user.has_perm("sartiq_tasks.view_rejecteddelivery"):
        return None
    return count_rejected(timedelta(days=1))


@register.simple_tag(takes_context=True)
def needs_somebody(context: dict[str, Any]) -> list[Need]:
    """Return what the compute overview says needs somebody, for a user that may see tasks."""
    from ..admin.overview import what_needs_you

    request = context["request"]
    return what_needs_you(request, request.current_app)


@register.simple_tag
def record_filter(cl: Any, spec: Any) -> Any:
    """Show a filter as ``{% admin_list_filter %}`` does, without a template if it has none of its own."""
    from django.contrib.admin.templatetags.admin_list import admin_list_filter

    from ..admin.filters import Filter

    if isinstance(spec, Filter) and spec.template == Filter.template:
        return next(spec.choices(cl))["details"]
    return admin_list_filter(cl, spec)


@register.inclusion_tag("admin/sartiq_tasks/results.html")
def record_list(cl: Any) -> dict[str, Any]:
    """Show a list's rows as ``{% result_list %}`` does, each of them made at once."""
    from django.contrib.admin.templatetags.admin_list import result_headers, results

    rows = ("".join(map(str, row)) for row in results(cl)) if cl.is_popup else cl.rows()
    body = mark_safe("\n".join(f"<tr>{cells}</tr>" for cells in rows))  # noqa: S308 (both escape)
    return {"cl": cl, "result_headers": list(result_headers(cl)), "body": body}


@register.inclusion_tag("admin/sartiq_tasks/zone.html", takes_context=True)
def times_in(context: dict[str, Any]) -> dict[str, Any]:
    """Name the zone of the page's times, and let the viewer switch it."""
    from ..admin.zones import chosen_zone

    return {
        "zone": timezone.get_current_timezone_name(),
        "usual": timezone.get_default_timezone_name(),
        "is_chosen": chosen_zone(context["request"]) is not None,
    }
