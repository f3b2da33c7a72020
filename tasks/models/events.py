"""The ledger: every event as it was received."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ..querysets import TaskStatusEventQuerySet
from .columns import column, name, percentage
from .tasks import Task

if TYPE_CHECKING:

    class TaskStatusEventManager(TaskStatusEventQuerySet, models.Manager["TaskStatusEvent"]):  # type: ignore[misc]
        """A manager with the methods of its QuerySet."""


class TaskStatusEvent(models.Model):
    """One event as it was received: the schema's fields, and how it came.

    Nothing edits what was received. ``deliveries`` counts how often the sender delivered it.
    """

    id: int
    task: Task = column(
        models.ForeignKey(
            Task,
            models.DO_NOTHING,
            related_name="events",
            db_constraint=False,
            db_index=False,
            verbose_name=_("task"),
            help_text=_("The sender's id of the task."),
        )
    )
    task_id: str
    event_type: str = name(_("event type"))
    status: str | None = name(_("status"), null=True)
    entity_id: str | None = name(_("entity id"), null=True)
    origin_instance: str | None = name(_("origin instance"), null=True)
    origin_zone: str | None = name(_("origin zone"), null=True)
    origin_version: str | None = name(_("origin version"), null=True)
    timestamp: datetime | None = column(models.DateTimeField(_("timestamp"), null=True))
    metadata: Any = column(models.JSONField(_("metadata"), null=True))
    progress: float = column(
        models.FloatField(_("progress"), validators=[MinValueValidator(0), MaxValueValidator(100)])
    )
    error_message: str | None = column(models.TextField(_("error message"), null=True))
    error_category: str | None = name(_("error category"), null=True)
    completed_at: datetime | None = column(models.DateTimeField(_("completed at"), null=True))
    started_at: datetime | None = column(models.DateTimeField(_("started at"), null=True))
    task_type: str = name(_("task type"))
    additional_properties: Any = column(models.JSONField(_("additional properties"), default=dict))
    unknown_fields: Any = column(
        models.JSONField(_("unknown fields"), default=dict, help_text=_("What was sent beyond the schema."))
    )

    received_at: datetime = column(models.DateTimeField(_("received at")))
    source: str = name(_("source"), help_text=_("The client that sent it."))
    deliveries: int = column(models.PositiveIntegerField(_("deliveries"), default=1))
    idempotency_key: bytes = column(models.BinaryField(_("idempotency key"), max_length=64))
    payload_digest: bytes = column(models.BinaryField(_("payload digest"), max_length=32))

    objects: ClassVar[TaskStatusEventManager] = column(TaskStatusEventQuerySet.as_manager())

    class Meta:
        verbose_name = _("task status event")
        verbose_name_plural = _("task status events")
        # "add" is what a token of a user needs (auth.permissions). Nobody changes or deletes by hand.
        default_permissions = ("add", "view")
        # Every unique key but the id begins with task_id: a running task's entries stay together in the
        # index, and the table can be partitioned or sharded by it. On PostgreSQL (task_id, id) is the
        # primary key; the id is unique for foreign keys of a host.
        indexes = [
            models.Index(fields=["status", "id"], name="sartiq_event_status"),
            models.Index(fields=["event_type", "id"], name="sartiq_event_type"),
            models.Index(fields=["task_type", "id"], name="sartiq_event_task_type"),
            models.Index(fields=["source", "id"], name="sartiq_event_source"),
            models.Index(
                fields=["timestamp", "id"], name="sartiq_event_time", condition=Q(timestamp__isnull=False)
            ),
            models.Index(
                fields=["error_category", "id"],
                name="sartiq_event_error",
                condition=Q(error_category__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["task", "id"], name="sartiq_event_task_id"),
            models.UniqueConstraint(fields=["task", "idempotency_key"], name="sartiq_event_key"),
            percentage("sartiq_event_progress"),
        ]

    def __str__(self) -> str:
        return f"{self.task_id}: {self.event_type}"
