"""What a worker does: reactions a second beside django-tasks, its delay, and what a claim takes."""

from __future__ import annotations

import random
import threading
import time
from datetime import timedelta
from statistics import median

from django.db import connections
from django.utils import timezone
from django_tasks_db.management.commands.db_worker import Worker as TaskWorker
from django_tasks_db.models import DBTaskResult

from benchmarks.ingest.postgresql import PostgreSQL
from tasks.handlers import blocked, claiming, on_event
from tasks.handlers.registry import declaring
from tasks.handlers.running import Report
from tasks.handlers.worker import Worker
from tasks.models import Reaction

from .delivery import Sender, fill, processor_of_server
from .host.effects import by_handler, by_task
from .host.models import Effect

#: Reactions and tasks of a round.
EFFECTS = 1000


def reactions_a_second(server: PostgreSQL, sender: Sender, rounds: int) -> str:
    """Return a table of how many a worker does, of one update each, and a worker of django-tasks."""
    rounds = max(rounds // 8, 3)
    names = [f"waits-{number}" for number in range(EFFECTS + 1)]
    Effect.objects.bulk_create([Effect(pk=name) for name in names], ignore_conflicts=True)
    done: dict[str, list[float]] = {"4 threads": [], "1 thread": [], "django-tasks": []}
    with declaring():
        on_event(name="every")(by_handler)
        for _ in range(rounds):
            for threads in (4, 1):
                fill(server, EFFECTS)
                start = time.perf_counter()
                Worker(["every"], threads=threads).run(once=True)
                done["4 threads" if threads == 4 else "1 thread"].append(
                    EFFECTS / (time.perf_counter() - start)
                )
                assert Reaction.objects.filter(state="done").count() == EFFECTS
            DBTaskResult.objects.all().delete()
            for name in names[1:]:
                by_task.enqueue(name)
            worker = TaskWorker(
                queue_names=["default"], interval=0, batch=True, backend_name="default",
                startup_delay=False, max_tasks=None, worker_id="benchmark", excluded_queue_names=[],
            )  # fmt: skip
            start = time.perf_counter()
            worker.run()
            done["django-tasks"].append(EFFECTS / (time.perf_counter() - start))
            assert DBTaskResult.objects.filter(status="SUCCESSFUL").count() == EFFECTS
    lines = [f"\nReactions a second, one worker, one update each, median of {rounds} rounds of {EFFECTS}:\n"]
    lines += ["| worker | a second | times django-tasks |", "|---|---|---|"]
    for name, found in done.items():
        ratio = median(one / other for one, other in zip(found, done["django-tasks"], strict=True))
        lines.append(f"| {name} | {median(found):.0f} | {ratio:.2f} |")
    return "\n".join(lines)


def commit_to_start(server: PostgreSQL, sender: Sender, rounds: int) -> str:
    """Return how long a reaction waits for its start, while some events a second come."""
    fill(server, 0)
    reports: list[Report] = []
    with declaring():
        on_event(name="every")(by_handler)
        worker = Worker(["every"], threads=4, report=reports.append)

        def run() -> None:
            try:
                worker.run()
            finally:
                connections.close_all()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            for _ in range(rounds * 5):
                sender.post(1)
                time.sleep(random.expovariate(20))
            time.sleep(1)
        finally:
            worker.stop()
            thread.join()
    lags = sorted(one.lag * 1000 for one in reports)
    p50, p99 = median(lags), lags[int(len(lags) * 0.99)]
    return f"\nFrom the event to the start, {len(lags)} reactions: p50 {p50:.0f} ms, p99 {p99:.0f} ms."


def claims(server: PostgreSQL, sender: Sender, rounds: int) -> str:
    """Return a table of what a claim of up to eight takes, by what waits."""
    lines = [
        "\nA claim of up to eight, medians:\n",
        "| what waits | ms | of processor, PostgreSQL | worker |",
        "|---|---|---|---|",
    ]
    fill(server, 20_000)
    lines.append(_claims("20,000 due", rounds))
    fill(server, 20_000, handler="other")
    lines.append(_claims("20,000 of a handler that is paused, gone or served elsewhere", rounds))
    fill(server, 20_000, tasks=1)
    Reaction.objects.filter(seq=1).update(due_at=timezone.now() + timedelta(hours=1), attempts=1)
    lines.append(_claims("20,000 of one task behind one that was put off just now", rounds))
    start = time.perf_counter()
    blocked.put_off_blocked()
    took = (time.perf_counter() - start) * 1000
    lines.append(_claims(f"the same, put off with it (which took {took:.0f} ms once)", rounds))
    fill(server, 20_000, tasks=1)
    claiming.claim(["every"], limit=1, lease=timedelta(hours=1))
    lines.append(_claims("20,000 of one task behind one that is being run", rounds))
    start = time.perf_counter()
    blocked.shorten_chains()
    took = (time.perf_counter() - start) * 1000
    lines.append(
        _claims(f"the same, all but the next {blocked.CHAIN} put off (which took {took:.0f} ms once)", rounds)
    )
    return "\n".join(lines)


def _claims(what: str, rounds: int) -> str:
    times, used = [], []
    for _ in range(rounds + 5):
        start, own, servers = time.perf_counter(), time.thread_time(), processor_of_server()
        claiming.claim(["every"], limit=8, lease=timedelta(hours=1))
        used.append((processor_of_server() - servers, time.thread_time() - own))
        times.append((time.perf_counter() - start) * 1000)
    of_server, of_worker = (median(one) * 1000 for one in zip(*used[5:], strict=True))
    return f"| {what} | {median(times[5:]):.2f} | {of_server:.2f} | {of_worker:.2f} |"
