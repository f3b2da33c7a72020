"""What a compute cluster's tasks go through, made up: pure functions of a random generator.

A task's *story* is the list of its events, as the bodies that the cluster posts. The phases, their
lengths and what goes wrong in them are those of image models: trainings of an hour or several,
generations of seconds, upscalings of minutes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from random import Random
from typing import Any

from ..lifecycle import Meaning

#: One event as the cluster would post it: the schema's fields by name, date-times as text.
Event = dict[str, Any]

_CUDA_TRACE = """\
Traceback (most recent call last):
  File "/srv/worker/run.py", line 214, in step
    loss = model(batch).loss
  File "/srv/worker/unet.py", line 88, in forward
    return self.mid_block(self.down_blocks(sample))
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has 1.12 GiB free."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a task with one status; each pair is a least and a most."""

    status: str
    seconds: tuple[float, float]
    events: tuple[int, int]
    #: Where the progress stands at the phase's end, in percent.
    progress: float


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of task: how often it comes among others, and what may happen to it."""

    task_type: str
    weight: int
    phases: tuple[Phase, ...]
    succeeded: str
    #: Error category and message of what goes wrong.
    failures: tuple[tuple[str, str], ...]


KINDS = (
    Kind(
        "training",
        weight=3,
        phases=(
            Phase("queued", (20, 900), (1, 1), 0),
            Phase("preparing", (60, 240), (1, 3), 4),
            Phase("running", (1800, 9000), (15, 45), 96),
            Phase("processing", (30, 120), (1, 2), 99),
        ),
        succeeded="completed",
        failures=(
            ("out_of_memory", _CUDA_TRACE),
            ("data", "DatasetError: 3 of 24 images could not be decoded: IMG_0412.heic, IMG_0415.heic, …"),
            ("diverged", "Loss is NaN; the learning rate 4e-3 is too high for rank 64."),
            ("node_lost", "Node gpu-a100-17 stopped answering: heartbeat missed for 90 s."),
        ),
    ),
    Kind(
        "generation",
        weight=12,
        phases=(Phase("queued", (1, 40), (1, 1), 0), Phase("running", (8, 90), (2, 5), 95)),
        succeeded="succeeded",
        failures=(
            ("safety", "The prompt was rejected by the content policy."),
            ("out_of_memory", "CUDA out of memory. Tried to allocate 768.00 MiB."),
            ("timeout", "No worker took the task within 120 s."),
        ),
    ),
    Kind(
        "upscaling",
        weight=5,
        phases=(Phase("queued", (1, 60), (1, 1), 0), Phase("processing", (60, 480), (4, 10), 98)),
        succeeded="done",
        failures=(
            ("input", "The image has 11811 x 7874 pixels; at most 8192 on a side can be upscaled."),
            ("storage", "Upload of the result failed: 503 Slow Down after 5 attempts."),
        ),
    ),
)
#: The statuses that a task may end with.
ENDINGS = frozenset({*(kind.succeeded for kind in KINDS), "failed", "cancelled"})
_ZONES = ("eu-central-1a", "eu-central-1b", "eu-north-1a", "us-east-1c")
_VERSIONS = ("2.13.4", "2.14.0", "2.14.1")
_FAILED, _CANCELLED = 0.12, 0.04
#: How long a task waits for a worker that does not come.
_NO_WORKER = timedelta(seconds=120)


def cluster_events(random: Random, *, tasks: int, until: datetime, span: timedelta) -> Iterator[Event]:
    """Yield what a cluster says of ``tasks`` tasks in the ``span`` before ``until``, in order of time.

    Tasks begin all through the span; those that are not done by its end are left as they are.
    """
    begin = until - span
    starts = sorted(random.uniform(0, span.total_seconds()) for _ in range(tasks))
    stories = [story(random, begin + timedelta(seconds=start)) for start in starts]
    for at, event in heapq.merge(*stories, key=itemgetter(0)):
        if at <= until:
            yield event


def kind_of(task_type: str) -> Kind:
    """Return the kind of that name."""
    kinds = {kind.task_type: kind for kind in KINDS}
    if task_type not in kinds:
        raise ValueError(f"There is no story of the kind {task_type!r}. There are {', '.join(kinds)}.")
    return kinds[task_type]


def story(
    random: Random, begins: datetime, *, kind: Kind | None = None, ends: Meaning | None = None
) -> list[tuple[datetime, Event]]:
    """Return the events of one task that is queued at ``begins``, and when each happens.

    Chance decides which ``kind`` of task it is and how it ``ends``, unless they are given.
    """
    kind = kind or random.choices(KINDS, [kind.weight for kind in KINDS])[0]
    common = _common(random, kind)
    steps = list(_steps(random, kind, begins))
    events, end = _ending(random, kind, steps, ends or _end(random))
    # A task that fails or is cancelled in the queue has not started.
    started = next((at for at, status, _ in events[:-1] if status != "queued"), None)
    told: list[tuple[datetime, Event]] = []
    for place, (at, status, progress) in enumerate(events):
        has_started = started is not None and at >= started
        details = {
            "status": status,
            "progress": progress,
            "timestamp": at.isoformat(),
            "started_at": started.isoformat() if started and has_started else None,
            "metadata": _metadata(random, kind, place, progress) if has_started else None,
        }
        told.append((at, {**common, **details}))
    at, last = told[-1]
    if end.get("error_category") == "diverged":
        last["metadata"]["loss"] = None
    told[-1] = (at, {**last, **end, "completed_at": at.isoformat()})
    return told


def _common(random: Random, kind: Kind) -> Event:
    return {
        "event_type": f"{kind.task_type}_status_update",
        "task_id": f"{kind.task_type}-{random.getrandbits(48):012x}",
        "task_type": kind.task_type,
        "entity_id": f"entity-{random.randrange(400):04d}",
        "origin_instance": f"gpu-a100-{random.randrange(1, 33):02d}",
        "origin_zone": random.choice(_ZONES),
        "origin_version": random.choice(_VERSIONS),
        "additional_properties": {"priority": random.choice(("low", "normal", "high")), "attempt": 1},
    }


def _steps(random: Random, kind: Kind, begins: datetime) -> Iterator[tuple[datetime, str, float]]:
    """Yield time, status and progress of each step on the way, and last the success."""
    at, progress = begins, 0.0
    for phase in kind.phases:
        count = random.randint(*phase.events)
        pause = random.uniform(*phase.seconds) / count
        gain = (phase.progress - progress) / count
        for _ in range(count):
            yield at, phase.status, round(progress, 1)
            at += timedelta(seconds=pause * random.uniform(0.7, 1.3))
            progress += gain
    yield at, kind.succeeded, 100.0


def _end(random: Random) -> Meaning:
    chance = random.random()
    if chance > _FAILED + _CANCELLED:
        return Meaning.SUCCEEDED
    return Meaning.CANCELLED if chance > _FAILED else Meaning.FAILED


def _ending(
    random: Random, kind: Kind, steps: list[tuple[datetime, str, float]], ends: Meaning
) -> tuple[list[tuple[datetime, str, float]], Event]:
    """Return the steps as far as the task gets, and what its last event says beyond the others."""
    if ends is Meaning.SUCCEEDED:
        return steps, {}
    if ends is Meaning.CANCELLED:
        return _until(steps, random.randrange(1, len(steps)), "cancelled"), {}
    category, message = random.choice(kind.failures)
    error = {"error_category": category, "error_message": message}
    if category == "timeout":
        begins, *_ = steps[0]
        return [steps[0], (begins + _NO_WORKER, "failed", 0.0)], error
    # It fails while it runs: a loss is known from the first step of a training on.
    first = "running" if category == "diverged" else kind.phases[1].status
    earliest = next(place for place, (_, status, _) in enumerate(steps) if status == first) + 1
    return _until(steps, random.randrange(earliest, len(steps)), "failed"), error


def _until(
    steps: list[tuple[datetime, str, float]], reached: int, status: str
) -> list[tuple[datetime, str, float]]:
    """Return the steps before ``reached``, and the end in its place."""
    *_, progress = steps[min(reached, len(steps) - 2)]
    return [*steps[:reached], (steps[reached][0], status, progress)]


def _metadata(random: Random, kind: Kind, place: int, progress: float) -> dict[str, Any]:
    measured = {"gpu_memory_gb": round(random.uniform(11, 39), 1), "gpu_utilisation": random.randint(71, 100)}
    if kind.task_type == "training":
        loss = 0.04 + 0.4 / (1 + place)
        return {"step": int(progress * 20), "epoch": int(progress // 10), "loss": round(loss, 4), **measured}
    return measured
