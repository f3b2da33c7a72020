"""The standing of handlers, read by one query however many there are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tasks.conf import app_settings
from tasks.handlers import Change, on_change, standing
from tasks.handlers.control import pause
from tasks.handlers.sql import database
from tasks.handlers.standing import Standing, standings
from tasks.handlers.worker import mark_seen
from tasks.models import Handler, Reaction
from tests.factories import record

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_layout")]
MINUTE = timedelta(minutes=1)


def declare(name: str) -> None:
    @on_change(to="failed", name=name)
    def nothing(change: Change) -> None:
        pass


def test_each_handler_that_is_declared_or_known(django_assert_num_queries: Any) -> None:
    now = timezone.now()
    declare("refund")
    declare("never-seen")
    for number in range(4):
        record(task_id=f"t{number}", status="failed")
    refunds = Reaction.objects.filter(handler="refund")
    refunds.filter(task="t0").update(state="dead")
    refunds.filter(task="t1").update(state="done")
    refunds.filter(task="t2").update(due_at=now - 6 * MINUTE)
    Reaction.objects.filter(handler="never-seen").exclude(task="t0").delete()
    Reaction.objects.filter(handler="never-seen").update(handler="gone", state="dead")
    mark_seen(["refund", "once"], database())
    pause("refund")

    with django_assert_num_queries(2 if app_settings().distributed else 1):
        found = {one.name: one for one in standings()}

    assert list(found) == ["gone", "never-seen", "once", "refund"]
    refund, gone = found["refund"], found["gone"]
    assert (refund.pending, refund.dead, refund.oldest) == (2, 1, now - 6 * MINUTE)
    assert refund.paused_at is not None
    assert refund.seen_at is not None
    assert now <= refund.paused_at <= timezone.now()
    assert refund.is_late(now)
    assert not refund.is_late(now - 2 * MINUTE)
    assert not refund.is_unserved(now)
    assert refund.is_unserved(now + 4 * MINUTE)
    assert (gone.dead, gone.pending, gone.oldest, gone.seen_at) == (1, 0, None, None)
    assert (gone.is_gone, gone.is_unserved(now), gone.is_late(now)) == (True, False, False)
    assert found["never-seen"] == Standing("never-seen", 0, 0, None, None, None, is_declared=True)
    assert found["never-seen"].is_unserved(now)
    assert (found["once"].is_declared, found["once"].is_gone) == (False, False)


def test_signs_that_a_person_should_look() -> None:
    now = timezone.now()
    fine = Standing("x", 1, 0, None, None, now, is_declared=True)

    assert fine.troubles(now) == []
    assert fine.troubles(now + 4 * MINUTE) == ["no worker"]
    assert Standing("x", 0, 2, None, now, now, is_declared=True).troubles(now) == ["2 dead", "paused"]
    assert Standing("x", 1, 0, None, None, None, is_declared=False).troubles(now) == ["declared nowhere"]
    assert Standing("x", 0, 0, None, None, None, is_declared=False).troubles(now) == []


def test_a_count_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    declare("refund")
    for number in range(4):
        record(task_id=f"t{number}", status="failed")
    monkeypatch.setattr(standing, "MAX_COUNT", 2)

    assert [one.pending for one in standings()] == [3]


def test_nothing_is_known() -> None:
    assert standings() == []
    assert not Handler.objects.exists()


def test_it_reads_no_table_whole() -> None:
    if connection.vendor != "postgresql" or app_settings().distributed:
        pytest.skip("PostgreSQL's plans")
    Reaction.objects.bulk_create(
        Reaction(
            task_id=f"t{number}", handler=f"h{number % 5}", seq=1, kind="change",
            state="done" if number % 50 else ("pending" if number % 100 else "dead"),
            due_at=timezone.now(), created_at=timezone.now(),
        )
        for number in range(20_000)
    )  # fmt: skip
    statements: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        with connection.wrap_database_errors:
            context["cursor"].cursor.execute(f"EXPLAIN {sql}", params)
        statements.append("\n".join(line for (line,) in context["cursor"].cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE sartiq_tasks_reaction")
    with connection.execute_wrapper(explain):
        standings()

    (plan,) = statements
    assert "Seq Scan on sartiq_tasks_reaction" not in plan
