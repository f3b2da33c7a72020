"""The probe in a thread of its own: what hangs, raises or says nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from tasks.conf import AppSettings
from tasks.models import Task
from tasks.watchdog.answers import Alive, Failure, Gone, ProbeFailed
from tasks.watchdog.asker import MAX_REASON, Asker, probe_of, reason_of
from tasks.watchdog.http import ask_over_http

A, B = Task(task_id="a"), Task(task_id="b")


def test_every_task_has_an_answer() -> None:
    asked = Asker().ask(lambda tasks: [Alive("a"), Gone("nobody asked")], [A, B])

    assert asked == {"a": Alive("a"), "b": Failure("b", "The cluster said nothing about it.")}


def test_the_last_of_two_answers_counts() -> None:
    assert Asker().ask(lambda tasks: [Alive("a"), Gone("a")], [A]) == {"a": Gone("a")}


def test_answers_before_an_error_count() -> None:
    def probe(tasks: Any) -> Iterator[Alive]:
        yield Alive("a")
        raise ProbeFailed("The cluster went away.")

    assert Asker().ask(probe, [A, B]) == {"a": Alive("a"), "b": Failure("b", "The cluster went away.")}


@pytest.mark.parametrize("odd", ["running", None, Alive(["a"]), Gone(5), {"a"}])  # type: ignore[arg-type]
def test_an_odd_answer_costs_the_others_nothing(odd: Any, caplog: pytest.LogCaptureFixture) -> None:
    answers = Asker().ask(lambda tasks: [odd, Alive("a"), odd], [A, B])

    reason = f"The probe answered {odd!r} instead of Alive, Gone or Report (2 in all)."
    assert answers == {"a": Alive("a"), "b": Failure("b", reason)}
    assert caplog.messages == [f"Asking the cluster failed: {reason} tasks=2"]


def test_one_that_hangs_is_waited_for_once_and_asked_again_when_it_has_returned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    released, asker = threading.Event(), Asker(limit=timedelta(seconds=0.2))

    def hang(tasks: Any) -> Iterator[Alive]:
        yield Alive("a")
        released.wait(30)

    first = asker.ask(hang, [A, B])
    second = asker.ask(hang, [A, B])
    assert first == {"a": Alive("a"), "b": Failure("b", "The probe did not return within 0.2 s.")}
    assert second["a"] == Failure("a", "The probe has not returned from an earlier question yet.")
    assert caplog.messages == ["The probe did not return within 0.2 s: tasks=2"]
    released.set()
    for _ in range(100):
        if asker.ask(lambda tasks: [Alive("b")], [B]) == {"b": Alive("b")}:
            break
        time.sleep(0.05)
    else:
        pytest.fail("it is never asked again")


@pytest.mark.django_db(transaction=True)
def test_a_probe_that_uses_the_database_leaves_no_connection() -> None:
    used: list[Any] = []

    def probe(tasks: Any) -> list[Alive]:
        assert not Task.objects.exists()
        used.append(connection.connection)
        return [Alive("a")]

    assert Asker().ask(probe, [A]) == {"a": Alive("a")}
    (theirs,) = used
    if connection.vendor == "postgresql":
        assert theirs.closed
    assert connection.connection is not theirs


def test_which_probe_it_is() -> None:
    def probe(tasks: Any) -> list[Alive]:
        return []

    assert probe_of(AppSettings()) is None
    assert probe_of(AppSettings(probe=probe, probe_url="http://cluster")) is probe
    assert probe_of(AppSettings(probe="tasks.watchdog.http.ask_over_http")) is ask_over_http
    assert probe_of(AppSettings(probe_url="http://cluster")) is ask_over_http


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("a\nb"), "OSError: a b"),
        (ProbeFailed("As it is."), "As it is."),
        (ValueError("\0 \udc80"), "ValueError: � �"),
        (ProbeFailed("500 \x1b[2J\u202eno"), "500 �[2J�no"),
        (ValueError("x" * 1000), "ValueError: " + "x" * (MAX_REASON - 12)),
    ],
)
def test_the_reason_is_one_line_that_every_database_stores(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
