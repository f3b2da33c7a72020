"""The decisions of a person about reactions, and how a new handler catches up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from tasks.handlers import Change, claiming, on_change, on_event
from tasks.handlers.control import give_up, pause, try_again
from tasks.handlers.registry import declaring
from tasks.handlers.sql import database
from tasks.handlers.standing import standings
from tasks.handlers.worker import mark_seen
from tasks.ledger.catching_up import CatchUp, catch_up
from tasks.ledger.pruning import ended_tasks, old_events, prune_reactions, prune_tasks
from tasks.models import Handler, Reaction, Task, TaskStatusEvent
from tasks.querysets import ReactionQuerySet
from tasks.testing import Handlers
from tests.factories import record

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("each_layout")]
DAY = timedelta(days=1)


def declare(name: str = "refund", **options: Any) -> list[tuple[int, bool]]:
    """Declare a handler that remembers its calls."""
    calls: list[tuple[int, bool]] = []

    @on_change(name=name, **options)
    def remember(change: Change) -> None:
        calls.append((change.seq, change.is_replay))

    return calls


def test_pausing_loses_nothing(handlers: Handlers, capsys: pytest.CaptureFixture[str]) -> None:
    calls = declare()
    call_command("handlers", "pause", "refund")
    record(status="failed")
    assert handlers.run(after=DAY) == []
    with pytest.raises(SystemExit):
        call_command("handlers", "--check")
    assert "paused, no worker" in capsys.readouterr().out

    call_command("handlers", "resume", "refund")
    mark_seen(["refund"], database())
    call_command("handlers", "--check")
    handlers.run()
    assert calls == [(1, False)]


def test_a_handler_that_is_paused_again_keeps_the_time_of_its_pause() -> None:
    pause("refund")
    (since,) = Handler.objects.values_list("paused_at", flat=True)
    pause("refund")

    assert Handler.objects.get().paused_at == since


@pytest.mark.parametrize("decide", [try_again, give_up])
def test_a_decision_puts_off_no_later_reaction_that_is_due(decide: Any) -> None:
    on_event(name="a")(lambda change: None)
    for number in range(2):
        record(progress=number)
    Reaction.objects.filter(seq=1).update(state="dead")
    (due_at,) = Reaction.objects.filter(seq=2).values_list("due_at", flat=True)

    assert decide(Reaction.objects.filter(seq=1)) == 1
    assert Reaction.objects.get(seq=2).due_at == due_at


def test_an_unknown_handler_is_named_with_the_known() -> None:
    declare()
    for command in (["handlers", "pause", "x"], ["replay_handlers", "x"], ["run_handlers", "--handler", "x"]):
        with pytest.raises(CommandError, match=r"No such handler: x\. There are: refund"):
            call_command(*command)


def test_without_a_thread_nothing_can_run() -> None:
    with pytest.raises(CommandError, match="--threads must be at least 1"):
        call_command("run_handlers", "--threads", "0")


@pytest.mark.django_db(transaction=True)
def test_a_thread_of_a_hosts_can_run_them_though_it_hears_no_signals(handlers: Handlers) -> None:
    calls = declare()
    record(status="failed")

    def run() -> None:
        try:
            call_command("run_handlers", "--once")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result()

    assert calls == [(1, False)]
    handlers.assert_nothing_pending()


def test_without_a_handler_a_supervisor_is_told_not_to_try_again() -> None:
    with pytest.raises(CommandError, match="No app declares a handler") as raised:
        call_command("run_handlers")

    assert raised.value.returncode == 78


def test_a_replay_runs_once_more_and_says_so(handlers: Handlers) -> None:
    calls = declare()
    record(status="failed")
    handlers.run()

    call_command("replay_handlers", "refund", "--dry-run")
    assert handlers.run(after=DAY) == []
    call_command("replay_handlers", "refund")
    handlers.run(after=DAY)
    handlers.run(after=DAY)

    assert calls == [(1, False), (1, True)]
    assert Reaction.objects.get().attempt == 1


def test_only_the_dead(handlers: Handlers) -> None:
    calls = declare()
    record(task_id="a", status="failed")
    record(task_id="b", status="failed")
    handlers.run()
    Reaction.objects.filter(task="a").update(state="dead", error="boom")
    assert [one.dead for one in standings()] == [1]

    call_command("replay_handlers", "refund", "--dead")
    handlers.run(after=DAY)

    assert calls == [(1, False), (1, False), (1, True)]


def test_each_is_due_later_than_it_was_written_in_the_order_of_the_task() -> None:
    """Otherwise a claim that has begun could take a later one beside an earlier one."""
    on_event(name="a")(lambda change: None)
    for number in range(3):
        record(progress=number)
    Reaction.objects.update(state="dead")

    assert try_again(Reaction.objects.order_by("-seq")) == 3
    due_at = list(Reaction.objects.order_by("seq").values_list("due_at", flat=True))
    assert due_at == sorted(set(due_at))


def test_running_reactions_are_left_alone() -> None:
    declare()
    record(status="failed")
    claiming.claim(["refund"], limit=1, lease=DAY)

    assert try_again(Reaction.objects.all()) == give_up(Reaction.objects.all()) == 0


@pytest.mark.parametrize("decide", [try_again, give_up])
def test_a_reaction_that_a_worker_has_taken_meanwhile_is_left_alone(decide: Any) -> None:
    declare()
    record(status="failed")

    class Read(ReactionQuerySet):
        """Reactions of which a worker takes each that was read."""

        def __iter__(self) -> Any:
            found = list(super().__iter__())
            claiming.claim(["refund"], limit=1, lease=DAY)
            return iter(found)

    assert decide(Read(Reaction)) == 0
    assert (Reaction.objects.get().state, Reaction.objects.get().attempts) == ("pending", 1)


def test_giving_up_lets_the_later_ones_go_on(handlers: Handlers) -> None:
    calls: list[int] = []

    @on_event(name="strict")
    def strict(change: Change) -> None:
        calls.append(change.seq)
        if change.seq == 1:
            raise ValueError

    record(progress=1)
    record(progress=2)
    handlers.run()
    assert give_up(Reaction.objects.filter(seq=1)) == 1
    handlers.run()

    assert calls == [1, 2]
    assert Reaction.objects.get(seq=1).state == "skipped"


@pytest.mark.parametrize("kind", ["change", "event"])
def test_a_new_handler_over_old_events_runs_each_once_beside_live_ones(handlers: Handlers, kind: str) -> None:
    with declaring():
        record(task_id="old", status="running", timestamp="2026-05-01T12:00:00Z")
        record(task_id="old", status="failed", timestamp="2026-05-01T12:01:00Z")
        record(task_id="both", status="failed", timestamp="2026-05-01T12:01:00Z")
    calls: list[tuple[str, str]] = []

    def remember(change: Change) -> None:
        assert change.event is not None
        calls.append((change.task_id, change.event.status or ""))

    (on_change(to="failed", name="new") if kind == "change" else on_event(name="new"))(remember)
    record(task_id="both", status="running", timestamp="2026-05-01T12:02:00Z")
    record(task_id="both", status="failed", timestamp="2026-05-01T12:03:00Z")

    for _ in range(2):
        call_command("replay_handlers", "new", "--new")
        handlers.run(after=DAY)

    if kind == "change":
        assert sorted(calls) == [("both", "failed"), ("old", "failed")]
    else:
        assert sorted(calls) == [
            ("both", "failed"),
            ("both", "failed"),
            ("both", "running"),
            ("old", "failed"),
            ("old", "running"),
        ]
    handlers.assert_nothing_pending()


@pytest.mark.parametrize(
    ("kind", "options", "made"),
    [
        ("event", {}, 3),
        ("event", {"event_type": "epoch"}, 1),
        ("event", {"task_type": "training"}, 2),
        ("event", {"task_type": "no such"}, 0),
        ("change", {}, 3),
        ("change", {"task_type": "training"}, 2),
        ("change", {"task_type": "no such"}, 0),
    ],
)
def test_a_new_handler_hears_of_what_it_asks_for_alone(kind: str, options: dict[str, str], made: int) -> None:
    with declaring():
        record(task_id="a", status="failed", event_type="end", task_type="training")
        record(task_id="b", status="failed", event_type="epoch", task_type="training")
        record(task_id="c", status="failed", event_type="end", task_type="other")
    (on_change if kind == "change" else on_event)(name="new", **options)(lambda change: None)

    call_command("replay_handlers", "new", "--new")

    assert Reaction.objects.count() == made


@pytest.mark.parametrize("kind", ["change", "event"])
def test_a_new_handler_may_hear_of_some_tasks_and_of_what_is_new_alone(kind: str) -> None:
    with declaring():
        for name in ("a", "b"):
            record(task_id=name, status="running", received_at=timezone.now() - 40 * DAY)
            record(task_id=name, status="failed")
    (on_change if kind == "change" else on_event)(name="new")(lambda change: None)

    call_command("replay_handlers", "new", "--new", "--task", "b")

    assert list(Reaction.objects.values_list("task_id", "status")) == [("b", "failed")]


def test_a_rolling_deploy_misses_no_ending(handlers: Handlers) -> None:
    record(task_id="before", status="failed", timestamp="2026-05-01T12:00:00Z")
    calls = declare(to="failed")
    mark_seen(["refund"], database())
    with declaring():  # a process of before, which does not know the handler
        record(task_id="missed", status="failed")
        record(task_id="before", status="error", timestamp="2026-05-01T12:01:00Z")
        record(task_id="runs", status="running")
    record(task_id="known", status="failed")

    assert catch_up(["refund"]) == 1
    assert catch_up(["refund"]) == 0
    handlers.run(after=DAY)

    assert len(calls) == 2
    handlers.assert_done("refund", task_id="missed")
    handlers.assert_done("refund", task_id="known")
    Handler.objects.update(registered_at=timezone.now() - 2 * DAY)
    with declaring():
        record(task_id="much later", status="failed")
    assert catch_up(["refund"]) == 0


def test_a_worker_looks_at_every_task_once_and_then_at_those_heard_from_lately() -> None:
    declare(to="failed")
    now = timezone.now()
    Handler.objects.create(name="refund", registered_at=now - timedelta(hours=2))
    sweep = CatchUp()

    def miss(name: str, minutes: int) -> None:
        with declaring():
            record(task_id=name, status="failed", received_at=now - timedelta(minutes=minutes))

    def stored() -> list[str]:
        sweep(["refund"])
        return sorted(Reaction.objects.values_list("task_id", flat=True))

    miss("old", 60)
    assert stored() == ["old"]
    miss("older", 61)
    miss("recent", 1)
    assert stored() == ["old", "recent"]
    sweep = CatchUp()
    assert stored() == ["old", "older", "recent"]


def test_pruning_keeps_events_of_pending_reactions_and_removes_reactions_with_their_task(
    handlers: Handlers,
) -> None:
    declare()
    record(status="failed")
    later = timezone.now() + DAY
    assert old_events(later).count() == 0

    handlers.run()
    assert old_events(later).count() == 1
    TaskStatusEvent.objects.all().delete()
    Reaction.objects.update(state="pending")
    assert list(ended_tasks(later)) == []
    Reaction.objects.update(state="dead")
    assert list(prune_tasks(before=later)) == [1]
    assert not Task.objects.exists()
    assert not Reaction.objects.exists()


def test_done_reactions_are_kept_for_so_long_and_dead_ones_until_a_person_decides() -> None:
    declare()
    for state in ("done", "skipped", "dead", "pending"):
        record(task_id=state, status="failed")
        Reaction.objects.filter(task=state).update(state=state, ended_at=timezone.now())

    assert list(prune_reactions(now=timezone.now() + 29 * DAY)) == []
    assert list(prune_reactions(now=timezone.now() + 31 * DAY)) == [2]
    assert set(Reaction.objects.values_list("state", flat=True)) == {"dead", "pending"}
