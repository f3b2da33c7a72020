"""The answers of a cluster about a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..models import Task


@dataclass(frozen=True, slots=True)
class Alive:
    """The task is queued or runs."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The cluster does not know the task."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Report:
    """An event that the cluster would have posted: ``body`` is as the webhook takes it, JSON or a dict."""

    task_id: str
    body: Mapping[str, Any] | bytes | str


@dataclass(frozen=True, slots=True)
class Failure:
    """The cluster could not be asked, or said nothing about the task."""

    task_id: str
    reason: str


Answer = Alive | Gone | Report
Probe = Callable[[Sequence[Task]], Iterable[Answer]]


class ProbeFailed(Exception):
    """The cluster could not be asked; the message says why in one line."""
