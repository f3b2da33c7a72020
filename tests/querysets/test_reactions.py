"""Reads of reactions."""

from __future__ import annotations

import pytest
from django.db import connection
from django.utils import timezone

from tasks.models import Reaction
from tests.cluster import not_on_citus
from tests.factories import record

pytestmark = pytest.mark.django_db


def test_by_state() -> None:
    record()
    times = {"created_at": timezone.now(), "due_at": timezone.now()}
    for seq, state in enumerate(Reaction.State.values, start=1):
        of = {"task_id": "task-1", "handler": "refund", "kind": "change", "seq": seq}
        Reaction.objects.create(state=state, **of, **times)

    assert [one.state for one in Reaction.objects.pending()] == ["pending"]
    assert [one.state for one in Reaction.objects.dead()] == ["dead"]
    for state in Reaction.State.values:
        assert [one.state for one in Reaction.objects.in_state(state)] == [state]
        assert state not in Reaction.objects.in_state(state).query.sql_with_params()[1], "the plan's index"
    assert not Reaction.objects.in_state("\0' OR 1 = 1").exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's plans")
@not_on_citus("its plans name no index of a shard")
def test_a_kept_plan_finds_the_dead_by_their_index() -> None:
    sql, given = Reaction.objects.dead().order_by("-id")[:50].query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"PREPARE dead AS {sql}", given)
        cursor.execute("EXPLAIN EXECUTE dead")
        assert "sartiq_reaction_ended" in str(cursor.fetchall())
        cursor.execute("DEALLOCATE dead")
