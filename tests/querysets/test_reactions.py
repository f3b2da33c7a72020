"""Reads of reactions."""

from __future__ import annotations

import pytest
from django.utils import timezone

from tasks.models import Reaction
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
