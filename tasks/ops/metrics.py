"""Metrics for Prometheus: deliveries by outcome, their duration, the faults, the age of the newest event.

Optional: it needs ``sartiq-tasks[metrics]`` and the setting ``METRICS_TOKEN``, without which
prometheus-client is not even imported. If ``PROMETHEUS_MULTIPROC_DIR`` names a directory, each process
counts in files there, and any process answers for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_not_required
from django.db import Error
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.decorators import method_decorator
from django.views import View

from ..conf import app_settings
from ..handlers.registry import declared
from ..models import Task
from .reaction_metrics import HandlerCollector
from .silence_metrics import SilenceCollector

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram, Metric

__all__ = ("MetricsView",)

#: Seconds: a delivery takes a few milliseconds, or seconds if the database makes it wait.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Bytes of a file of ``PROMETHEUS_MULTIPROC_DIR``, several times what is counted.
ROOM = 65536
#: Each is told from the start, as 0: in a series that begins with 1, Prometheus sees no increase.
OUTCOMES = (
    "stored", "duplicate", "conflict", "error", "forbidden", "rejected", "throttled", "unauthenticated",
    "unavailable",
)  # fmt: skip


def count(outcome: str, errors: Iterable[str], seconds: float) -> None:
    """Count one delivery; ``errors`` are the types of its errors."""
    deliveries, rejected, latency = _instruments()
    deliveries.labels(outcome).inc()
    for error in errors:
        rejected.labels(error).inc()
    latency.observe(seconds)


def exposition() -> tuple[bytes, str]:
    """Return all metrics in Prometheus' text format, and their content type."""
    from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

    _instruments()
    return generate_latest(_counted()) + generate_latest(_asked()), CONTENT_TYPE_PLAIN_0_0_4


# The first deliveries may come at the same time, and prometheus-client refuses to make a metric twice.
_making = Lock()


def _instruments() -> tuple[Counter, Counter, Histogram]:
    with _making:
        return _made_once()


@cache
def _made_once() -> tuple[Counter, Counter, Histogram]:
    from prometheus_client import Counter, Histogram

    if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        for kind in ("counter", "histogram"):
            _reserve(Path(directory) / f"{kind}_{os.getpid()}.db")
    deliveries = Counter("sartiq_tasks_deliveries", "Deliveries by outcome", ["outcome"])
    for outcome in OUTCOMES:
        deliveries.labels(outcome)
    return (
        deliveries,
        Counter("sartiq_tasks_rejected", "Errors of deliveries that were not stored, by type", ["type"]),
        Histogram("sartiq_tasks_delivery_seconds", "How long a delivery took to answer", buckets=BUCKETS),
    )


def _reserve(file: Path) -> None:
    """Make ``file``, where prometheus-client counts, with all its room on the disk, or raise ``OSError``.

    It would make a file with holes and map it. If the disk is full when it writes to a hole, the kernel kills
    the process.
    """
    if file.exists():
        return
    unnamed = file.with_suffix(".part")
    try:
        unnamed.write_bytes(bytes(ROOM))
        unnamed.rename(file)
    finally:
        unnamed.unlink(missing_ok=True)


def _counted() -> CollectorRegistry:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    of_all_processes = CollectorRegistry()
    MultiProcessCollector(of_all_processes)
    return of_all_processes


def _asked() -> CollectorRegistry:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    registry.register(_NewestEventCollector())
    if declared():
        registry.register(HandlerCollector())
    if app_settings().watches:
        registry.register(SilenceCollector())
    return registry


class _NewestEventCollector:
    # Not a Gauge: that would leave its value in a file of PROMETHEUS_MULTIPROC_DIR, to be read when outdated.
    def collect(self) -> Iterator[Metric]:
        """Yield the age of the newest event, or nothing if there is none or the database is away."""
        from prometheus_client.core import GaugeMetricFamily

        try:
            newest = Task.objects.aggregate(newest=Max("last_received_at"))["newest"]
        except Error:
            return
        if newest is not None:
            yield GaugeMetricFamily(
                "sartiq_tasks_newest_event_age_seconds",
                "Time since the newest event was received",
                value=(timezone.now() - newest).total_seconds(),
            )


@method_decorator(login_not_required, name="dispatch")
class MetricsView(View):
    """The metrics for Prometheus; a 404 unless the setting ``METRICS_TOKEN`` is there."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the metrics if the request has the token."""
        token = app_settings().metrics_token
        if token is None:
            raise Http404
        if not constant_time_compare(request.META.get("HTTP_AUTHORIZATION", ""), f"Bearer {token}"):
            return JsonResponse(
                {"detail": "Not authenticated"}, status=401, headers={"WWW-Authenticate": "Bearer"}
            )
        body, content_type = exposition()
        return HttpResponse(body, content_type=content_type)
