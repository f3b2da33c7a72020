"""The work of a claim while many reactions are due or wait, by the database's count instead of a clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tasks.handlers import blocked, claiming
from tasks.models import Reaction
from tests.cluster import not_on_citus

pytestmark = [pytest.mark.django_db, not_on_citus("it counts what one node reads")]
HOUR = timedelta(hours=1)
MANY = 20_000
#: Pages that PostgreSQL may look at, or instructions that SQLite's machine may run.
MOST = 400 if connection.vendor == "postgresql" else 30_000


def fill(*, tasks: int, handler: str = "a", number: int = MANY, put_off: bool = False) -> None:
    """Have ``number`` reactions of ``tasks`` tasks, all due, or put off once."""
    now = timezone.now()
    due, task, attempts = (now + HOUR, "later", 1) if put_off else (now - HOUR, "task", 0)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {Reaction._meta.db_table} (task_id, handler, seq, kind, state, attempts, excused,
            replays, due_at, created_at)
            WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {number})
            SELECT '{task}-' || (n %% {tasks}), '{handler}', n, 'event', 'pending', {attempts}, 0, 0, %s, %s
            FROM n
            """,
            [connection.ops.adapt_datetimefield_value(one) for one in (due, now - HOUR)],
        )


def due() -> None:
    fill(tasks=MANY)


def behind_one_that_runs() -> None:
    fill(tasks=1)
    assert claiming.claim(["a"], limit=1, lease=HOUR)


def behind_one_that_was_put_off() -> None:
    fill(tasks=1)
    Reaction.objects.filter(seq=1).update(due_at=timezone.now() + HOUR, attempts=1)


def put_off_with_it() -> None:
    behind_one_that_was_put_off()
    assert blocked.put_off_blocked() == MANY - 1


def shortened() -> None:
    behind_one_that_runs()
    assert blocked.shorten_chains() == MANY - 1 - blocked.CHAIN


def beside_many_put_off() -> None:
    """And nobody has told the planner that there are any."""
    fill(tasks=MANY)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    fill(tasks=MANY, number=MANY // 4, put_off=True)


def of_another_handler() -> None:
    fill(tasks=MANY, handler="b")


def work_of_claim() -> tuple[int, int]:
    """Return how many reactions a claim takes, and how much it reads."""
    steps, statements = 0, list[tuple[str, Any]]()

    def keep(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        statements.append((sql, parameters))
        return execute(sql, parameters, many, context)

    def step() -> None:
        nonlocal steps
        steps += 100

    if connection.vendor == "sqlite":
        connection.connection.set_progress_handler(step, 100)
        try:
            taken = claiming.claim(["a"], limit=8, lease=HOUR)
        finally:
            connection.connection.set_progress_handler(None, 0)
        return len(taken), steps
    with connection.execute_wrapper(keep):
        taken = claiming.claim(["a"], limit=8, lease=HOUR)
    ((sql, parameters),) = statements
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", parameters)
        (told,) = cursor.fetchone()
    plan = (json.loads(told) if isinstance(told, str) else told)[0]["Plan"]
    return len(taken), plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.mark.parametrize("is_analysed", [True, False])
@pytest.mark.parametrize(
    ("state", "taken"),
    [
        (due, 8),
        (behind_one_that_runs, 0),
        (behind_one_that_was_put_off, 0),
        (put_off_with_it, 0),
        (shortened, 0),
        (beside_many_put_off, 8),
        (of_another_handler, 0),
    ],
)
def test_a_claim_reads_no_more_while_many_are_due_or_wait(
    state: Callable[[], None], taken: int, is_analysed: bool
) -> None:
    """Whether the planner knows how many rows there are, or believes that the table is empty."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL statement_timeout = 0")  # the test's own statements write many rows
            # What other tests rolled back would be read too.
            cursor.execute(f"TRUNCATE {Reaction._meta.db_table}")
        cursor.execute("ANALYZE")
        state()
        if is_analysed:
            cursor.execute("ANALYZE")

    took, work = work_of_claim()

    assert took == taken
    assert work < MOST
