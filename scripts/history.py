"""Fill an empty ledger with two weeks of a simulated cluster, for the pictures in the documentation.

Each event is received when it happens, and today a storage has begun to fail. ``scripts.screenshots`` calls
``fill()`` in ``manage.py shell``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from django.db import transaction
from rest_framework.exceptions import APIException

from tasks.ledger.recording import record_event
from tasks.models import RejectedDelivery
from tasks.rejections import keep_rejected
from tasks.serializers import read_event, task_status_event
from tasks.simulation.stories import cluster_events
from tasks.wire.canonical import payload_digest

TASKS = 2600
DAYS = timedelta(days=14)
#: Since when the storage fails, and how many tasks fall silent.
OUTAGE, SILENT = timedelta(hours=4), 3
#: How many hours ago deliveries were rejected, of two senders.
REJECTED = [("cluster-eu", 2), ("cluster-eu", 2), ("cluster-us", 7), ("cluster-us", 70), ("cluster-us", 200)]
WRONG = b'{"task_id": "upscaling-9c1", "status": "running", "progress": 104.2, "task_type": "upscaling"}'


def fill() -> None:
    """Record the two weeks, and some deliveries that are rejected."""
    until = datetime.now(UTC)
    with transaction.atomic():
        for at, body in _events(until):
            record_event(
                event=task_status_event.run_validation(body),
                digest=payload_digest(body),
                source="cluster-us" if str(body["origin_zone"]).startswith("us") else "cluster-eu",
                idempotency_key=None,
                received_at=at + timedelta(milliseconds=180),
            )
    for source, hours in REJECTED:
        try:
            read_event(WRONG, "application/json")
        except APIException as rejection:
            keep_rejected(rejection, body=WRONG, headers={}, source=source, idempotency_key=None)
        last = RejectedDelivery.objects.latest("pk").pk
        RejectedDelivery.objects.filter(pk=last).update(received_at=until - timedelta(hours=hours))


def _events(until: datetime) -> Iterator[tuple[datetime, dict[str, Any]]]:
    random = Random(11)
    silent: set[str] = set()
    for body in cluster_events(random, tasks=TASKS, until=until, span=DAYS):
        at = datetime.fromisoformat(body["timestamp"])
        age = until - at
        if body["task_id"] in silent:
            continue
        if body["status"] == "running" and timedelta(minutes=25) < age < OUTAGE and len(silent) < SILENT:
            silent.add(body["task_id"])
        is_hit = body["task_type"] == "upscaling" and body["status"] == "done" and age < OUTAGE
        if is_hit and random.random() < 0.7:
            error = "UploadError: PUT results/: 507 Insufficient Storage"
            body |= {"status": "failed", "progress": 98, "error_category": "storage", "error_message": error}
        yield at, body
