"""Metrics of silent and lost tasks, read from the database, and of the answers that a watchdog got.

``run_handlers --metrics`` serves those of its watchdog. The others are served with the metrics of
deliveries, if the watchdog has anything to do: see ``AppSettings.watches``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

from django.db import Error
from django.db.models import Count

from ..models import Task

if TYPE_CHECKING:
    from prometheus_client import Counter, Metric


@cache
def instruments() -> Counter:
    """Return the metric of answers; call it first from a single thread."""
    from prometheus_client import Counter

    return Counter("sartiq_tasks_probes", "Silent tasks that the cluster was asked about", ["outcome"])


def count(answers: Mapping[str, int]) -> None:
    """Count ``answers``, the number of tasks by ``Silence.Answer``."""
    for outcome, number in answers.items():
        instruments().labels(outcome).inc(number)


class SilenceCollector:
    """Collects how many tasks are silent and lost now, by type, and how many are held back."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, or nothing if the database is away."""
        from prometheus_client.core import GaugeMetricFamily

        tasks = Task.objects.order_by()
        try:
            by_type = {
                name: list(found.values_list("task_type").annotate(Count("pk")))
                for name, found in (("silent", tasks.silent()), ("lost", tasks.lost()))
            }
            held_back = tasks.held_back().count()
        except Error:
            return
        for name, text in (("silent", "Tasks that are silent"), ("lost", "Tasks that are marked as lost")):
            family = GaugeMetricFamily(f"sartiq_tasks_{name}", text, labels=["task_type"])
            for task_type, number in by_type[name]:
                family.add_metric([task_type], number)
            yield family
        yield GaugeMetricFamily(
            "sartiq_tasks_held_back", "Tasks that would be marked as lost and are held back", value=held_back
        )
