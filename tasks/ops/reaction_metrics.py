"""Metrics of the durable handlers: what a worker counts of its attempts, and how each handler stands.

A worker serves its own with ``run_handlers --metrics``. How the handlers stand is read from the
database, and served with the metrics of deliveries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from django.db import Error
from django.utils import timezone

from ..handlers.running import Report
from ..handlers.standing import standings

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram, Metric

#: Seconds: a handler writes a row, or waits for another service.
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
#: Seconds: a worker polls several times a second, or may have been away for a night.
LAGS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)


@cache
def instruments() -> tuple[Counter, Histogram, Histogram]:
    """Return the metrics of attempts; call it first from a single thread."""
    from prometheus_client import Counter, Histogram

    return (
        Counter("sartiq_tasks_reactions", "Attempts of handlers by outcome", ["handler", "outcome"]),
        Histogram(
            "sartiq_tasks_reaction_seconds", "How long an attempt took", ["handler"], buckets=DURATIONS
        ),
        Histogram(
            "sartiq_tasks_reaction_lag_seconds",
            "How long after its event the first attempt began",
            ["handler"],
            buckets=LAGS,
        ),
    )


def count(report: Report) -> None:
    """Count one attempt."""
    reactions, seconds, lag = instruments()
    reactions.labels(report.handler, report.outcome.value).inc()
    seconds.labels(report.handler).observe(report.seconds)
    if report.is_first:
        lag.labels(report.handler).observe(report.lag)


@contextmanager
def serving(host: str, port: int) -> Iterator[None]:
    """Answer Prometheus on ``host`` and ``port``; raise ``OSError`` if nothing can listen there."""
    from prometheus_client import start_http_server

    instruments()
    server, thread = start_http_server(port, host)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class HandlerCollector:
    """Collects what each handler has pending, due and dead now."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, or nothing if the database is away."""
        from prometheus_client.core import GaugeMetricFamily

        try:
            found = standings()
        except Error:
            return
        now = timezone.now()
        pending = GaugeMetricFamily(
            "sartiq_tasks_reactions_pending", "Reactions that are still to be made", labels=["handler"]
        )
        oldest = GaugeMetricFamily(
            "sartiq_tasks_reactions_oldest_due_seconds",
            "For how long the longest due reaction has been due",
            labels=["handler"],
        )
        dead = GaugeMetricFamily(
            "sartiq_tasks_reactions_dead", "Reactions that wait for a person", labels=["handler"]
        )
        for one in found:
            pending.add_metric([one.name], one.pending)
            oldest.add_metric([one.name], (now - one.oldest).total_seconds() if one.oldest else 0)
            dead.add_metric([one.name], one.dead)
        yield from (pending, oldest, dead)
