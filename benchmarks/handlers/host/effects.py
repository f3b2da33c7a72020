"""The same update, as a handler and as a Django Task."""

from __future__ import annotations

from django.db.models import F
from django_tasks import task

from tasks.handlers import Change

from .models import Effect


def update(task_id: str) -> None:
    """Write one row."""
    Effect.objects.filter(pk=task_id).update(times=F("times") + 1)


def by_handler(change: Change) -> None:
    """Do it for a reaction."""
    update(change.task_id)


@task()
def by_task(task_id: str) -> None:
    """Do it for a task of django-tasks."""
    update(task_id)
