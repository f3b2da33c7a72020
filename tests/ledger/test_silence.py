"""The mark of lost tasks, and what the watchdog remembers: each interleaving of judge, event and mark."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from tasks.handlers import Change, on_event, on_found, on_lost
from tasks.handlers.registry import by_name, declaring
from tasks.ledger import silence, upsert
from tasks.ledger.catching_up import react_to_ledger
from tasks.ledger.pruning import prune_events, prune_tasks
from tasks.ledger.rebuilding import rebuild_task
from tasks.ledger.silence import ask_soon, claim, forget, mark_lost, mark_not_lost, notice, settle
from tasks.models import Reaction, Silence, Task
from tasks.signals import event_recorded
from tests.factories import NOON, minutes, record, statements_of_event

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_layout")]
LEASE = timedelta(minutes=2)


@pytest.fixture(autouse=True)
def handlers() -> Any:
    with declaring():
        yield


def task(task_id: str = "task-1") -> Task:
    return Task.objects.get(pk=task_id)


def reactions() -> list[tuple[Any, ...]]:
    return list(Reaction.objects.order_by("pk").values_list("handler", "kind", "seq", "status"))


def declare() -> None:
    on_lost(name="lost", task_type="training")(lambda change: None)
    on_found(name="found")(lambda change: None)
    on_lost(name="of-another-type", task_type="upscaling")(lambda change: None)


def test_the_mark_stands_until_the_next_event() -> None:
    record(NOON)
    assert not task().is_lost

    assert mark_lost(task())
    assert task().is_lost
    assert list(Task.objects.lost()) == [task()]
    assert task().status == "running", "what the sender said"
    record(NOON + minutes(1), progress=6)

    assert not task().is_lost
    assert not Task.objects.lost()
    assert task().lost_events == 1


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "no such status", None])
def test_nothing_but_queued_and_running_tasks_is_marked(status: str | None) -> None:
    record(status=status)

    assert not mark_lost(task())
    assert task().lost_events is None


def test_a_queued_task_is_marked() -> None:
    record(status="pending")

    assert mark_lost(task())


@pytest.mark.parametrize("event", [{"status": "completed"}, {"status": None, "progress": 7}])
def test_an_event_between_judgement_and_mark_wins(event: dict[str, Any]) -> None:
    record()
    judged = task()
    record(**event)

    assert not mark_lost(judged)
    assert task().lost_events is None


def test_an_event_that_loses_the_fold_voids_the_mark_too() -> None:
    record(timestamp="2026-05-01T12:00:00Z")
    mark_lost(task())
    record(timestamp="2026-05-01T11:00:00Z", status="pending")

    assert not task().is_lost


def test_a_duplicate_leaves_the_mark() -> None:
    record()
    mark_lost(task())
    record()

    assert task().is_lost


def test_it_is_marked_once_and_told_once() -> None:
    declare()
    record()

    assert mark_lost(task())
    assert not mark_lost(task())
    assert reactions() == [("lost", "lost", 1, "running")]


def test_an_ending_that_comes_late_is_found_once() -> None:
    declare()
    record(status="running")
    mark_lost(task())
    record(status="completed")
    record(status="completed")
    record(status="completed", progress=99)

    assert task().has_succeeded
    assert not task().is_lost
    assert reactions() == [("lost", "lost", 1, "running"), ("found", "found", 2, "completed")]


def test_it_is_found_with_a_listener_too() -> None:
    declare()
    record()
    mark_lost(task())

    def listen(**said: Any) -> None:
        pass

    event_recorded.connect(listen)
    try:
        record(progress=9)
    finally:
        event_recorded.disconnect(listen)
    assert reactions()[-1][:3] == ("found", "found", 2)


def test_a_task_that_was_not_lost_is_not_found() -> None:
    declare()
    record()
    record(progress=6)

    assert reactions() == []


def test_found_beside_other_kinds() -> None:
    declare()
    on_event(name="every")(lambda change: None)
    record()
    mark_lost(task())
    record(status="completed")

    assert sorted(reactions()) == [
        ("every", "event", 1, "running"),
        ("every", "event", 2, "completed"),
        ("found", "found", 2, "completed"),
        ("lost", "lost", 1, "running"),
    ]


def test_lost_again_is_told_again() -> None:
    declare()
    record()
    mark_lost(task())
    record(progress=6)
    mark_lost(task())

    assert [row[:3] for row in reactions()] == [
        ("lost", "lost", 1),
        ("found", "found", 2),
        ("lost", "lost", 2),
    ]


def test_mark_and_reactions_are_both_there_or_neither() -> None:
    declare()
    record()

    with transaction.atomic():
        mark_lost(task())
        transaction.set_rollback(True)

    assert not task().is_lost
    assert reactions() == []


def test_the_mark_is_taken_back() -> None:
    declare()
    record()
    assert not mark_not_lost(task())
    mark_lost(task())
    Silence.objects.update(gone_since=timezone.now())

    assert mark_not_lost(task())
    assert not task().is_lost
    remembered = Silence.objects.get()
    assert remembered.alive_at is not None
    assert remembered.gone_since is None, "one more answer that it is gone marks nothing"
    assert remembered.due_at is not None
    assert remembered.due_at > timezone.now() + minutes(14), "not before it has been silent for as long again"
    assert [row[:3] for row in reactions()] == [("lost", "lost", 1), ("found", "found", 1)]


def test_the_mark_that_an_event_voided_is_not_taken_back() -> None:
    record()
    mark_lost(task())
    read = task()
    record(progress=6)

    assert not mark_not_lost(read)
    assert not mark_not_lost(task())


def test_a_mark_taken_back_of_a_type_that_may_be_silent(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"SILENT_AFTER": {"*": None}}
    record()
    mark_lost(task())

    assert mark_not_lost(task())
    assert Silence.objects.get().due_at is None


def test_rebuilding_a_task_leaves_the_mark() -> None:
    record()
    mark_lost(task())
    Task.objects.update(status="queued", meaning="queued", status_order=b"")

    assert rebuild_task("task-1")
    assert task().is_lost


def test_a_success_is_never_lost_whatever_the_settings_come_to_say(settings: Any) -> None:
    record(status="baking-done")
    settings.SARTIQ_TASKS = {"STATUSES": {"running": ["baking-done"]}}
    rebuild_task("task-1")
    mark_lost(task())
    settings.SARTIQ_TASKS = {"STATUSES": {"succeeded": ["baking-done"]}}
    rebuild_task("task-1")

    assert task().has_succeeded
    assert not task().is_lost
    assert not Task.objects.lost()


def test_the_database_keeps_a_mark_whole() -> None:
    record()

    with pytest.raises(IntegrityError), transaction.atomic():
        Task.objects.update(lost_events=F("event_count"))


def test_no_statement_of_a_delivery_knows_of_it_unless_a_handler_asks() -> None:
    asked = upsert.record_in_one(",".join(upsert.REACTING), reacting=True)
    finding = upsert.record_in_one(",".join(upsert.FINDING), reacting=True, finding=True)
    plain = [
        upsert.record_in_one("status,previous_status"),
        upsert.merge_task("status,previous_status", "sqlite"),
    ]

    assert not any("lost" in statement or "silence" in statement for statement in [*plain, asked])
    assert (
        finding.replace(",lost_events", "").replace(
            " h.k='found' AND m.lost_events=m.event_count-1 OR h.k<>'found' AND", ""
        )
        == asked
    )


def test_a_lost_task_is_recorded_by_the_same_statements() -> None:
    record()
    before = statements_of_event(progress=6)
    on_lost(name="lost")(lambda change: None)
    mark_lost(task())

    assert statements_of_event(progress=7) == before


def test_a_new_handler_hears_of_the_marks_that_stand() -> None:
    record(task_id="lost")
    record(task_id="found")
    record(task_id="of-another-type", task_type="upscaling")
    for task_id in ("lost", "found", "of-another-type"):
        mark_lost(task(task_id))
    record(task_id="found", progress=6)
    on_lost(name="lost", task_type="training")(lambda change: None)
    on_found(name="found")(lambda change: None)
    since = timezone.now() - minutes(1)

    assert list(react_to_ledger(by_name()["lost"], since=since)) == [("lost", 1)]
    assert list(react_to_ledger(by_name()["lost"], since=since)) == []
    assert list(react_to_ledger(by_name()["lost"], since=timezone.now() + minutes(1))) == []
    assert list(react_to_ledger(by_name()["found"], since=since)) == [], (
        "nobody knows which marks were voided"
    )
    assert reactions() == [("lost", "lost", 1, "running")]


def test_noticed_once_and_again_after_the_next_event() -> None:
    record(NOON)
    record(NOON, task_id="other")

    assert notice(NOON + minutes(16)) == 2
    assert notice(NOON + minutes(16)) == 0
    record(NOON + minutes(17), progress=6)
    assert notice(NOON + minutes(20)) == 0
    assert notice(NOON + minutes(40)) == 1
    assert Silence.objects.get(pk="task-1").event_count == 2


def test_a_lost_task_is_not_noticed() -> None:
    record(NOON)
    mark_lost(task())
    Silence.objects.all().delete()

    assert notice(NOON + minutes(16)) == 0


def test_it_remembers_deliveries_and_what_was_received_last() -> None:
    for _ in range(3):
        record(NOON)
    record(NOON, task_id="ended", timestamp="2026-05-01T12:04:00Z")
    record(NOON + minutes(1), task_id="ended", timestamp="2026-05-01T12:03:00Z", status="completed")

    assert notice(NOON + minutes(20)) == 2
    assert Silence.objects.get(pk="task-1").deliveries == 3
    assert not Silence.objects.get(pk="task-1").says_ended
    assert Silence.objects.get(pk="ended").says_ended


def test_what_a_handler_is_told_and_when_it_is_superseded() -> None:
    declare()
    record()
    mark_lost(task())
    record(status="completed")
    lost, found = (Change(one, "default") for one in Reaction.objects.order_by("pk"))

    assert (lost.event, lost.previous, lost.status, lost.seq) == (None, "running", "running", 1)
    assert found.event is not None
    assert (found.previous, found.status, found.seq) == ("running", "completed", 2)
    assert lost.is_superseded
    assert not found.is_superseded


def test_it_goes_with_its_task() -> None:
    record(NOON)
    record(NOON, task_id="other")
    notice(NOON + minutes(20))
    record(NOON + minutes(20), status="completed")
    list(prune_events(before=NOON + minutes(30)))
    list(prune_tasks(before=NOON + minutes(30)))

    assert list(Silence.objects.values_list("pk", flat=True)) == ["other"]


def test_a_claim_is_taken_once_and_settled_by_its_owner() -> None:
    record(NOON)
    now = NOON + minutes(20)
    notice(now)

    (mine,) = claim(now, lease=LEASE)
    assert claim(now, lease=LEASE) == []
    (next_ones,) = claim(now + LEASE, lease=LEASE)
    assert not settle(mine, answer="alive"), "another watchdog has it"
    assert settle(next_ones, answer="gone", due_at=None)
    assert Silence.objects.get().answer == "gone"
    assert str(mine) == "task-1"


def test_a_silence_that_is_over_is_forgotten_and_a_new_one_is_not() -> None:
    record(NOON)
    notice(NOON + minutes(20))
    (old,) = claim(NOON + minutes(20), lease=LEASE)
    record(NOON + minutes(20), progress=6)
    notice(NOON + minutes(40))

    forget([old])
    assert Silence.objects.get().event_count == 2
    forget(Silence.objects.all())
    assert not Silence.objects.exists()


def test_more_than_a_step_can_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "_NOTICED", 2)
    for number in range(3):
        record(NOON, task_id=f"task-{number}")

    assert [notice(NOON + minutes(20)) for _ in range(3)] == [2, 1, 0]


def test_to_ask_soon() -> None:
    record(timezone.now() - minutes(20))
    record(task_id="heard")

    assert ask_soon(task())
    assert not ask_soon(task("heard"))
    assert Silence.objects.due(timezone.now()).count() == 1
    Silence.objects.update(due_at=None)
    mark_lost(task())
    assert ask_soon(task()), "of a lost one too"
    assert Silence.objects.due(timezone.now()).count() == 1
    assert not Silence.objects.judged()
