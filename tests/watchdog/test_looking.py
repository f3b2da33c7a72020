"""A look at silent tasks: what is asked, what each answer does, and what is marked as lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tasks.handlers import on_found, on_lost
from tasks.ledger import silence as ledger
from tasks.ledger.silence import ask_soon, mark_lost
from tasks.models import Reaction, RejectedDelivery, Silence, Task, TaskStatusEvent
from tasks.watchdog import Alive, Gone, Report, looking
from tasks.watchdog.guard import Held
from tasks.watchdog.looking import look
from tests.factories import NOON, minutes, record
from tests.watchdog.conftest import Cluster, nothing, reporting

pytestmark = pytest.mark.django_db


def task(task_id: str = "task-1") -> Task:
    return Task.objects.get(pk=task_id)


def remembered(task_id: str = "task-1") -> Silence:
    return Silence.objects.get(pk=task_id)


def test_nothing_is_looked_at_unless_it_is_asked_for(settings: Any) -> None:
    record(NOON)
    settings.SARTIQ_TASKS = {}

    assert look().noticed == 0
    assert not Silence.objects.exists()


def test_a_silent_task_is_asked_about_once_and_not_one_that_is_heard(cluster: Cluster) -> None:
    record(NOON)
    record(NOON + minutes(10), task_id="heard")
    record(NOON, task_id="ended", status="failed")

    found = cluster.look(after=minutes(16))
    cluster.look(after=minutes(1))

    assert cluster.asked == [["task-1"]]
    assert (found.noticed, found.answers, found.lost) == (1, {"alive": 1}, 0)


def test_alive_is_noted_and_asked_again_after_the_same_silence(cluster: Cluster) -> None:
    record(NOON)
    cluster.look(after=minutes(16))
    cluster.look(after=minutes(14))
    cluster.look(after=minutes(1))

    assert len(cluster.asked) == 2
    assert (remembered().answer, remembered().alive_at) == ("alive", cluster.now)
    assert TaskStatusEvent.objects.count() == 1, "no event"
    assert not task().is_lost


def test_a_report_is_an_event_once(cluster: Cluster) -> None:
    record(NOON)
    cluster.says = reporting(status="completed", progress=100)

    assert cluster.look(after=minutes(16)).answers == {"report": 1}
    cluster.look(after=minutes(16))

    event = TaskStatusEvent.objects.latest("pk")
    assert (event.source, event.deliveries, event.status) == ("probe", 1, "completed")
    assert task().has_succeeded
    assert TaskStatusEvent.objects.count() == 2
    assert len(cluster.asked) == 1
    assert (remembered().answer, remembered().due_at) == ("report", None)


def test_a_report_that_the_sender_has_posted_too_is_one_event(cluster: Cluster) -> None:
    record(NOON, key=b"the sender's own")
    cluster.says = reporting()

    assert cluster.look(after=minutes(16)).answers == {"known": 1}
    assert TaskStatusEvent.objects.count() == 1
    assert remembered().alive_at == cluster.now, "the cluster says that it runs"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reporting(progress=101), "rejected: progress: Input should be less than or equal to 100"),
        (lambda task_id: Report(task_id, b"{"), "rejected: body: JSON decode error"),
        (lambda task_id: Report(task_id, "[]"), "rejected: body: Input should be a valid dictionary"),
        (lambda task_id: Report(task_id, b" " * 2_000_000), "rejected: The body is longer than"),
    ],
)
def test_an_invalid_report_is_a_rejected_delivery(
    cluster: Cluster, answer: Callable[[str], Any], words: str
) -> None:
    record(NOON)
    cluster.says = answer

    assert cluster.look(after=minutes(16)).answers == {"error": 1}
    rejected = RejectedDelivery.objects.get()
    assert rejected.source == "probe"
    assert words in str(remembered().error)
    assert TaskStatusEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda task_id: Report(task_id, {"at": object()}), "TypeError"),
        (lambda task_id: Report("task-1", reporting()("other").body), "about another task"),
        (nothing, "said nothing about it"),
        (lambda task_id: "running", "instead of Alive, Gone or Report"),
    ],
)
def test_an_invalid_answer_is_an_error(cluster: Cluster, answer: Callable[[str], Any], words: str) -> None:
    record(NOON)
    cluster.says = answer

    assert cluster.look(after=minutes(16)).answers == {"error": 1}
    assert words in str(remembered().error)
    assert TaskStatusEvent.objects.count() == 1
    assert not RejectedDelivery.objects.exists()


def test_gone_twice_a_minute_apart_is_lost(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    cluster.now = NOON + minutes(16)
    record(NOON)
    cluster.others_speak()
    cluster.of["task-1"] = Gone

    assert cluster.look().lost == 0
    assert cluster.look(after=timedelta(seconds=59)).lost == 0
    assert len(cluster.asked) == 1
    assert cluster.look(after=timedelta(seconds=1)).lost == 1
    assert task().is_lost
    assert task().status == "running"
    assert [one for one in caplog.messages if "lost" in one] == ["A task is marked as lost: task='task-1'"]
    assert remembered().judged_at is None


@pytest.mark.parametrize("between", [Alive, reporting()], ids=["alive", "known report"])
def test_gone_and_back_is_not_lost(cluster: Cluster, between: Callable[[str], Any]) -> None:
    record(NOON)
    cluster.now = NOON + minutes(16)
    for answer in (Gone, between, Gone, between, Gone):
        cluster.others_speak()
        cluster.of["task-1"] = answer
        Silence.objects.update(due_at=cluster.now)
        assert cluster.look(after=minutes(1)).lost == 0


def test_an_error_between_does_not_undo_the_first_gone(cluster: Cluster) -> None:
    record(NOON)
    cluster.now = NOON + minutes(16)
    cluster.others_speak()
    for answer, lost in ((Gone, 0), (nothing, 0), (Gone, 1)):
        cluster.of["task-1"] = answer
        assert cluster.look(after=minutes(2)).lost == lost


def test_an_event_after_the_judgement_is_never_overwritten(cluster: Cluster) -> None:
    """The event comes while the cluster is asked for the second time."""
    record(NOON)
    cluster.now = NOON + minutes(16)
    cluster.others_speak()

    def gone_while_it_ends(task_id: str) -> Gone:
        record(cluster.now, task_id=task_id, status="completed")
        return Gone(task_id)

    cluster.of["task-1"] = Gone
    cluster.look()
    answers = [gone_while_it_ends("task-1")]
    cluster.of["task-1"] = lambda task_id: answers[0]
    assert cluster.look(after=minutes(1)).lost == 0
    assert task().has_succeeded
    assert not Silence.objects.filter(pk="task-1").exists(), "that silence is over"


def test_an_event_between_judgement_and_mark(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    record(NOON)
    cluster.now = NOON + minutes(16)
    cluster.others_speak()
    cluster.of["task-1"] = Gone
    cluster.look()
    real = ledger.mark_lost

    def late(judged: Task, **options: Any) -> bool:
        record(cluster.now, task_id=judged.pk, status="completed")
        return real(judged, **options)

    monkeypatch.setattr(ledger, "mark_lost", late)
    assert cluster.look(after=minutes(1)).lost == 0
    assert task().has_succeeded
    assert cluster.look(after=minutes(1)).lost == 0
    assert not Silence.objects.judged()


def test_lost_and_found_are_told_once_each(cluster: Cluster) -> None:
    on_lost(name="lost")(lambda change: None)
    on_found(name="found")(lambda change: None)
    record(NOON)
    cluster.now = NOON + minutes(16)
    cluster.others_speak()
    cluster.of["task-1"] = Gone
    for _ in range(5):
        cluster.look(after=minutes(1))
    record(cluster.now + timedelta(days=1), status="completed")
    record(cluster.now + timedelta(days=1), status="completed")
    cluster.look(after=timedelta(days=1))

    assert task().has_succeeded
    assert list(Reaction.objects.order_by("pk").values_list("handler", "seq")) == [("lost", 1), ("found", 2)]


def test_a_cluster_that_comes_back_after_a_day_reports_the_ending(cluster: Cluster) -> None:
    """It forgot the task, which was marked. A lost task is asked about for ever, though ever more rarely."""
    record(NOON)
    cluster.now = NOON + minutes(16)
    cluster.others_speak()
    cluster.of["task-1"] = Gone
    cluster.look()
    cluster.look(after=minutes(1))
    lost_at = task().lost_at
    for _ in range(24):
        cluster.look(after=minutes(60))
    times = sum("task-1" in asked for asked in cluster.asked)
    cluster.of["task-1"] = reporting(status="completed")
    for _ in range(12):
        cluster.look(after=minutes(60))

    assert task().lost_at == lost_at
    assert task().has_succeeded
    assert not task().is_lost
    assert times < 15


def test_a_lost_task_that_the_cluster_says_runs_is_not_lost(cluster: Cluster) -> None:
    on_found(name="found")(lambda change: None)
    record(NOON)
    mark_lost(task())
    assert ask_soon(task())
    Silence.objects.update(due_at=NOON)

    cluster.look(after=minutes(1))

    assert not task().is_lost
    assert remembered().answer == "alive"
    assert Reaction.objects.get().handler == "found"


def test_an_error_backs_off_and_never_marks(cluster: Cluster) -> None:
    """The probe is away for a day."""
    record(NOON)
    cluster.says = OSError("no route\nto host")
    cluster.now = NOON + minutes(16)
    for number in range(24 * 4):
        record(cluster.now, task_id="other", progress=number)
        assert cluster.look(after=minutes(15)).lost == 0

    assert not Task.objects.lost()
    assert 25 <= len(cluster.asked) <= 40
    assert (remembered().answer, remembered().failures) == ("error", len(cluster.asked))
    assert remembered().error == "OSError: no route to host"


def test_lost_after_so_much_longer_if_nobody_could_say(cluster: Cluster) -> None:
    cluster.configure(LOST_AFTER=minutes(60))
    record(NOON)
    cluster.says = OSError("away")
    cluster.now = NOON + minutes(16)
    while cluster.now < NOON + minutes(74):
        record(cluster.now, task_id="other", timestamp=cluster.now.isoformat())
        assert cluster.look(after=minutes(2)).lost == 0

    assert cluster.look(after=minutes(1)).lost == 1
    assert task().is_lost


def test_alive_puts_off_lost_after(cluster: Cluster) -> None:
    cluster.configure(LOST_AFTER=minutes(60))
    record(NOON)
    cluster.look(after=minutes(50))
    cluster.says = OSError("away")
    cluster.now = NOON + minutes(123)
    cluster.others_speak()

    assert cluster.look(after=minutes(1)).lost == 0
    assert cluster.look(after=minutes(1)).lost == 1, (
        "so long after the sign of life, and as long as a silence"
    )


def test_without_a_probe_it_is_lost_after_so_much_longer(cluster: Cluster) -> None:
    cluster.configure(PROBE=None, LOST_AFTER=minutes(60))
    record(NOON)
    cluster.now = NOON + minutes(16)
    while cluster.now < NOON + minutes(74):
        record(cluster.now, task_id="other", timestamp=cluster.now.isoformat())
        assert cluster.look(after=minutes(2)).lost == 0

    assert cluster.look(after=minutes(1)).lost == 1
    assert cluster.asked == []
    cluster.others_speak()
    cluster.look(after=timedelta(days=1))
    assert task().is_lost


def test_a_heartbeat_that_is_the_same_body_each_time_is_no_silence(cluster: Cluster) -> None:
    cluster.configure(PROBE=None, LOST_AFTER=minutes(60))
    record(NOON)
    cluster.now = NOON + minutes(16)
    for _ in range(30):
        cluster.others_speak()
        record(cluster.now)
        assert cluster.look(after=minutes(10)).lost == 0

    assert TaskStatusEvent.objects.get(task_id="task-1").deliveries == 31
    assert remembered().alive_at is not None


def test_a_heartbeat_after_the_judgement(cluster: Cluster) -> None:
    record(NOON)
    cluster.now = NOON + minutes(16)
    cluster.of["task-1"] = Gone
    cluster.look()
    assert cluster.look(after=minutes(1)).held_back == {Held.NOTHING_HEARD: 1}
    cluster.others_speak()
    record(cluster.now)

    assert cluster.look(after=timedelta(seconds=30)).lost == 0
    assert cluster.look(after=minutes(1)).lost == 0
    assert remembered().judged_at is None


def test_one_that_ended_by_what_was_received_last_is_never_alive_by_that(cluster: Cluster) -> None:
    """Its ending lost to an event with a later timestamp: the cluster reports the ending that is stored."""
    cluster.configure(LOST_AFTER=minutes(60))
    record(NOON, timestamp="2026-05-01T12:04:00Z")
    record(NOON + minutes(1), timestamp="2026-05-01T12:03:00Z", status="completed")
    cluster.says = reporting(timestamp="2026-05-01T12:03:00Z", status="completed")
    cluster.now = NOON + minutes(17)

    assert cluster.look().answers == {"known": 1}
    assert remembered().says_ended
    assert remembered().alive_at is None
    assert task().status == "running"
    assert TaskStatusEvent.objects.count() == 2


def test_a_limit_that_was_raised_forgets_the_silence(cluster: Cluster) -> None:
    record(NOON)
    cluster.look(after=minutes(16))
    cluster.configure(SILENT_AFTER=minutes(60))
    cluster.look(after=minutes(20))

    assert not Silence.objects.exists()


def test_a_judgement_that_is_over_is_forgotten(cluster: Cluster) -> None:
    record(NOON)
    cluster.now = NOON + minutes(16)
    cluster.says = Gone
    cluster.look()
    cluster.look(after=minutes(1))
    assert Silence.objects.judged().count() == 1
    record(cluster.now, status="completed")

    cluster.look(after=timedelta(seconds=20))
    assert not Silence.objects.exists()


def test_a_silence_of_a_task_that_was_removed(cluster: Cluster) -> None:
    record(NOON)
    cluster.look(after=minutes(16))
    Task.objects.all().delete()
    cluster.look(after=minutes(16))

    assert not Silence.objects.exists()


def test_a_task_that_is_removed_between_judgement_and_mark(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(NOON)
    cluster.look(after=minutes(16))
    Silence.objects.update(judged_at=cluster.now)

    def remove(judged: Any, now: Any) -> dict[str, Held]:
        Task.objects.all().delete()
        return {}

    monkeypatch.setattr(looking, "held_back", remove)
    assert cluster.look().lost == 0


def test_a_type_that_may_be_silent_now_is_not_lost_by_time(cluster: Cluster) -> None:
    """Marked, taken back by a person, and by then nothing is expected of its type."""
    record(NOON)
    cluster.configure(LOST_AFTER=minutes(60), SILENT_AFTER={"*": None})
    mark_lost(task())
    Silence.objects.update(due_at=NOON)

    cluster.look(after=minutes(1))
    assert remembered().answer == "alive"
    assert not task().is_lost


def test_many_are_asked_about_in_batches(cluster: Cluster) -> None:
    for number in range(250):
        record(NOON, task_id=f"task-{number}")

    assert cluster.look(after=minutes(16)).answers == {"alive": 250}
    assert sorted(map(len, cluster.asked)) == [50, 100, 100]


def test_one_look_ends_however_many_are_silent(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_STEPS", 1)
    monkeypatch.setattr(ledger, "BATCH", 2)
    for number in range(5):
        record(NOON, task_id=f"task-{number}")

    assert cluster.look(after=minutes(16)).answers == {"alive": 2}
    assert cluster.look().answers == {"alive": 2}
    assert cluster.look().answers == {"alive": 1}


def test_a_queued_task_may_be_lost_too(cluster: Cluster) -> None:
    cluster.configure(QUEUED_AFTER=minutes(15))
    record(NOON, status="queued")
    cluster.now = NOON + minutes(16)
    cluster.others_speak()
    cluster.of["task-1"] = Gone
    cluster.look()

    assert cluster.look(after=minutes(1)).lost == 1
