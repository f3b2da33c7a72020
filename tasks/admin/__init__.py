"""The app in Django's admin."""

from __future__ import annotations

from django.contrib.admin import AdminSite

from ..models import Handler, Overview, Reaction, RejectedDelivery, Task, TaskStatusEvent
from .event import TaskStatusEventAdmin
from .handler import HandlerAdmin
from .overview import OverviewAdmin
from .reaction import ReactionAdmin
from .rejected import RejectedDeliveryAdmin
from .task import TaskAdmin

__all__ = (
    "HandlerAdmin",
    "OverviewAdmin",
    "ReactionAdmin",
    "RejectedDeliveryAdmin",
    "TaskAdmin",
    "TaskStatusEventAdmin",
    "register",
)


def register(site: AdminSite) -> None:
    """Register the app's pages with ``site``, an admin site of your own."""
    site.register(Overview, OverviewAdmin)
    site.register(Task, TaskAdmin)
    site.register(TaskStatusEvent, TaskStatusEventAdmin)
    site.register(RejectedDelivery, RejectedDeliveryAdmin)
    site.register(Handler, HandlerAdmin)
    site.register(Reaction, ReactionAdmin)
