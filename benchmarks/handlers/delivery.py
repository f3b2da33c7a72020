"""What handlers cost a delivery: posts made in this process, with handlers and without in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.test import RequestFactory

from benchmarks.ingest.contenders import WEBHOOK
from benchmarks.ingest.postgresql import PostgreSQL
from benchmarks.ingest.profile import body, clients_token
from tasks.handlers import on_change, on_event, on_found
from tasks.handlers.registry import declaring
from tasks.lifecycle import TERMINAL
from tasks.models import Reaction
from tasks.signals import event_recorded

from .host.effects import by_handler, by_task

#: Posts of a block, and events of a task: the last one is its ending.
BLOCK, STORY = 100, 20
WAITING = 50_000


@contextmanager
def nothing() -> Iterator[None]:
    """Declare no handler."""
    with declaring():
        yield


@contextmanager
def on_endings() -> Iterator[None]:
    """Declare three handlers of a task's ending."""
    with declaring():
        for number in range(3):
            on_change(to=TERMINAL, name=f"ended-{number}")(by_handler)
        yield


@contextmanager
def on_every_event() -> Iterator[None]:
    """Declare one handler of each event."""
    with declaring():
        on_event(name="every")(by_handler)
        yield


@contextmanager
def on_tasks_found() -> Iterator[None]:
    """Declare one handler of tasks that were lost; none is."""
    with declaring():
        on_found(name="found")(by_handler)
        yield


@contextmanager
def task_each() -> Iterator[None]:
    """Enqueue a Django Task for each event, by the signal."""

    def enqueue(event: Any, **kwargs: Any) -> None:
        by_task.enqueue(event.task_id)

    with declaring():
        event_recorded.connect(enqueue)
        try:
            yield
        finally:
            event_recorded.disconnect(enqueue)


class Sender:
    """Posts through the WSGI handler, and measures each request."""

    def __init__(self) -> None:
        self._application, self._factory = get_wsgi_application(), RequestFactory(SERVER_NAME="127.0.0.1")
        self._token, self._sent = clients_token(), 0

    def post(self, number: int) -> tuple[list[float], float]:
        """Post ``number`` events; return the seconds of each, and those of processor of all.

        The processor is that of this thread and of the server's process for its connection.
        """
        requests = [self._request() for _ in range(number)]
        seconds = []
        own, servers = time.thread_time(), processor_of_server()
        for request in requests:
            start = time.perf_counter()
            answer = self._application(request, lambda status, headers: None)
            answer.close()
            seconds.append(time.perf_counter() - start)
            if answer.status_code != 200:
                raise SystemExit(f"answered {answer.status_code}: {answer.content!r}")
        return seconds, time.thread_time() - own + processor_of_server() - servers

    def _request(self) -> dict[str, Any]:
        story, step = divmod(self._sent, STORY)
        self._sent += 1
        sent = body(self._sent) | {
            "task_id": f"train-{story}",
            "status": "completed" if step == STORY - 1 else "running",
            "timestamp": f"2026-05-01T09:00:{step:02d}Z",
        }
        header = {"HTTP_AUTHORIZATION": f"Bearer {self._token}"}
        return dict(self._factory.post(WEBHOOK, sent, "application/json", **header).environ)


def processor_of_server() -> float:
    """Return the seconds of processor of the server's process for this thread's connection."""
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def processor(server: PostgreSQL, sender: Sender, rounds: int) -> str:
    """Return a table of a delivery's processor time, beside one for which no handler is called."""
    contenders: dict[str, Callable[[], Any]] = {
        "no handler": nothing,
        "no handler, once more": nothing,
        "three handlers on endings, one event in 20": on_endings,
        "one handler on every event": on_every_event,
        "one handler on tasks found again, none of them lost": on_tasks_found,
        "a Django Task each": task_each,
    }
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, declared in contenders.items():
            with declared():
                _, used = sender.post(BLOCK)
            if turn:  # the first prepares statements and fills caches
                spent[name].append(used / BLOCK)
    lines = [f"Processor of a delivery, median of {rounds} rounds of {BLOCK}:\n"]
    lines += ["| handlers | microseconds | ratio, median within rounds | middle half |", "|---|---|---|---|"]
    for name, times in spent.items():
        ratios = sorted(one / base for one, base in zip(times, spent["no handler"], strict=True))
        quarter = len(ratios) // 4
        lines.append(
            f"| {name} | {median(times) * 1e6:.0f} | {median(ratios):.3f} "
            f"| {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f} |"
        )
    return "\n".join(lines)


def while_reactions_wait(server: PostgreSQL, sender: Sender, rounds: int) -> str:
    """Return a table of a delivery's latency while none and while many reactions wait."""
    measured: dict[int, list[float]] = {0: [], WAITING: []}
    ratios = []
    with ExitStack() as stack:
        stack.enter_context(on_every_event())
        for turn in range(max(rounds // 4, 2) + 1):
            medians = {}
            for waiting, found in measured.items():
                fill(server, waiting)
                times, _ = sender.post(4 * BLOCK)
                medians[waiting] = median(times)
                if turn:
                    found += times
            ratios += [medians[WAITING] / medians[0]] if turn else []
    lines = [f"\nLatency of a delivery with a handler; the ratio of the medians is {median(ratios):.3f}:\n"]
    lines += ["| reactions that wait | p50 ms | p99 ms |", "|---|---|---|"]
    for waiting, found in measured.items():
        found.sort()
        p99 = found[int(len(found) * 0.99)] * 1000
        lines.append(f"| {waiting:,} | {median(found) * 1000:.2f} | {p99:.2f} |")
    return "\n".join(lines)


def fill(server: PostgreSQL, number: int, *, handler: str = "every", tasks: int = 0) -> None:
    """Have ``number`` reactions of as many tasks and no others, or of ``tasks`` tasks."""
    table = Reaction._meta.db_table
    task = f"'waits-' || n % {tasks}" if tasks else "'waits-' || n"
    server.query(f"TRUNCATE {table}")
    server.query(
        f"INSERT INTO {table} (task_id, handler, seq, kind, event_id, status, state, attempts, excused, "
        f"replays, due_at, created_at) SELECT {task}, '{handler}', n, 'event', n, 'running', 'pending', "
        f"0, 0, 0, now(), now() FROM generate_series(1, {number}) n"
    )
    server.query(f"VACUUM ANALYZE {table}")
