"""The guard that holds marks back: no sender was heard from, or too many tasks at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tasks.models import Silence, Task
from tasks.watchdog import Gone
from tasks.watchdog.guard import Held, was_heard
from tests.factories import NOON, minutes, record
from tests.watchdog.conftest import Cluster, reporting

pytestmark = pytest.mark.django_db


def silent(number: int, cluster: Cluster) -> None:
    for one in range(number):
        record(NOON, task_id=f"silent-{one}")
        cluster.of[f"silent-{one}"] = Gone


def test_if_all_are_silent_none_is_marked(cluster: Cluster) -> None:
    silent(3, cluster)
    cluster.now = NOON + minutes(16)
    cluster.look()
    for _ in range(30):
        found = cluster.look(after=minutes(60))
        assert (found.lost, found.held_back) == (0, {Held.NOTHING_HEARD: 3})

    assert not Task.objects.lost()
    assert Silence.objects.judged().count() == 3


def test_after_our_own_outage_everybody_has_time_to_speak_again(cluster: Cluster) -> None:
    silent(1, cluster)
    cluster.now = NOON + timedelta(days=1)
    cluster.look()
    cluster.look(after=minutes(1))
    lost = []
    for _ in range(30):
        record(cluster.now, task_id="other", timestamp=cluster.now.isoformat())
        lost.append(cluster.look(after=minutes(1)).lost)

    assert sum(lost) == 1
    assert 14 <= lost.index(1) <= 16


def test_what_the_watchdog_records_does_not_show_that_senders_get_through(cluster: Cluster) -> None:
    silent(1, cluster)
    record(NOON, task_id="reported")
    cluster.now = NOON + minutes(16)
    for number in range(60):
        cluster.of["reported"] = reporting(progress=number)
        Silence.objects.update(due_at=cluster.now)
        Task.objects.filter(pk="reported").update(last_received_at=NOON)
        assert cluster.look(after=minutes(1)).lost == 0

    assert Task.objects.get(pk="reported").event_count > 30


@pytest.mark.parametrize(("number", "running", "lost"), [(10, 0, 10), (11, 0, 0), (11, 55, 11), (11, 54, 0)])
def test_more_than_ten_and_more_than_a_fifth_are_held_back(
    cluster: Cluster, number: int, running: int, lost: int
) -> None:
    """``running`` of all do, the silent ones and the one that speaks among them."""
    silent(number, cluster)
    cluster.now = NOON + minutes(16)
    cluster.others_speak()
    for one in range(running - number - 1):
        record(cluster.now, task_id=f"running-{one}")
    cluster.look()

    found = cluster.look(after=minutes(1))
    assert found.lost == lost
    assert found.held_back == ({} if lost else {Held.TOO_MANY: number})


def test_many_in_an_hour_are_as_many_at_once(cluster: Cluster) -> None:
    """A partition: tasks fall silent one after the other."""
    cluster.now = NOON + minutes(16)
    for one in range(20):
        record(NOON, task_id=f"silent-{one}")
        cluster.of[f"silent-{one}"] = Gone
        cluster.others_speak()
        cluster.look(after=minutes(1))
        cluster.look(after=minutes(1))

    assert Task.objects.lost().count() == 10
    assert Silence.objects.judged().count() == 10


@pytest.mark.parametrize(
    ("heard", "expected"),
    [([5, 20], True), ([5], False), ([20], False), ([], False), ([14.9, 29.9], True), ([5, 31], False)],
)
def test_heard_in_this_silence_and_in_the_one_before(heard: list[float], expected: bool) -> None:
    now = NOON + timedelta(hours=1)
    for ago in heard:
        record(now - minutes(ago), task_id=f"heard-{ago}")

    assert was_heard(minutes(15), now) is expected


def test_heard_long_before_within_a_long_silence() -> None:
    now = NOON + timedelta(days=3)
    for ago in (20, 40):
        record(now - timedelta(hours=ago), task_id=f"heard-{ago}")

    assert was_heard(timedelta(hours=24), now)
    assert not was_heard(timedelta(hours=12), now)
