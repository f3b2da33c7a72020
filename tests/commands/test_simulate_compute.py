from __future__ import annotations

import shlex
import threading
import time
from collections import Counter
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from tasks.auth.clients import create_compute_client
from tasks.management.commands.simulate_compute import Command, table_of
from tasks.models import Task, TaskStatusEvent
from tasks.simulation.stories import ENDINGS
from tasks.watchdog.looking import look
from tests.servers import free_port

UNTIL = "2026-05-01T12:00:00Z"


def simulate(url: Any, client: tuple[Any, str] | None = None, **options: Any) -> str:
    known, secret = client or create_compute_client("cluster")
    told = StringIO()
    given = {"tasks": 12, "rate": 100_000, "seed": 3, "until": UNTIL, "patience": 20} | options
    arguments = [f"--{name}={value}" for name, value in given.items()]
    command = ["simulate_compute", f"--url={url}", f"--client-id={known.client_id}"]
    call_command(*command, f"--client-secret={secret}", *arguments, stdout=told, stderr=StringIO())
    return told.getvalue()


@pytest.mark.django_db(transaction=True)
def test_every_event_that_is_sent_is_stored(live_server: Any) -> None:
    told = simulate(live_server)

    events = TaskStatusEvent.objects.count()
    assert Task.objects.count() == 12
    assert told.splitlines()[1].split() == ["event", str(events), str(events)]
    assert told.splitlines()[-1] == "12 tasks, 0 deliveries sent again."


@pytest.mark.django_db(transaction=True)
def test_the_last_line_is_one_to_paste(live_server: Any) -> None:
    client, secret = create_compute_client("cluster")
    words = [f"--url={live_server}", f"--client-id={client.client_id}", f"--client-secret={secret}"]
    told = StringIO()
    call_command("simulate_compute", *words, "--tasks=3", "--rate=100000", "--late=0.5", stdout=told)
    events = TaskStatusEvent.objects.count()

    _, _, command, *again = shlex.split(told.getvalue().splitlines()[-1])
    call_command(command, *again, stdout=StringIO())

    assert TaskStatusEvent.objects.count() == events
    assert set(TaskStatusEvent.objects.values_list("deliveries", flat=True)) == {2}


@pytest.mark.django_db(transaction=True)
def test_the_same_again_is_all_duplicates(live_server: Any) -> None:
    client = create_compute_client("cluster")
    simulate(live_server, client)
    events = TaskStatusEvent.objects.count()

    told = simulate(f"{live_server}/", client)

    assert TaskStatusEvent.objects.count() == events
    assert told.splitlines()[0].split() == ["sent", "as", "200", "duplicate", "all"]


@pytest.mark.django_db(transaction=True)
def test_every_fault_is_answered_as_it_is_to_be(live_server: Any) -> None:
    shares = {"duplicate": 0.2, "shuffle": 0.2, "late": 0.1, "drop": 0.1, "malformed": 0.2}

    told = simulate(live_server, tasks=20, **shares)

    sent_as = {line.split()[0] for line in told.splitlines()[1:-1]}
    assert sent_as == {"event", "duplicate", "shuffle", "late", "malformed"}
    assert "422" in told.splitlines()[0]
    assert TaskStatusEvent.objects.filter(deliveries=2).exists()


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_is_not_due_fails_the_command(live_server: Any, settings: Any) -> None:
    settings.SARTIQ_TASKS = {"SCOPE": "another"}

    with pytest.raises(CommandError, match=r"\d+ deliveries got a wrong answer"):
        simulate(live_server, tasks=2)


@pytest.mark.django_db(transaction=True)
def test_a_client_that_is_unknown_is_told_what_to_do(live_server: Any) -> None:
    client, _ = create_compute_client("cluster")

    with pytest.raises(CommandError, match=r"gives this client no token: 401 .*create_compute_client"):
        simulate(live_server, (client, "wrong"))


@pytest.mark.django_db
def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(CommandError, match=r"No server answers at http://127\.0\.0\.1:9"):
        simulate("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--tasks=0", "0 is not above 0"),
        ("--rate=inf", "inf is not above 0"),
        ("--rate=many", "invalid float value"),
        ("--late=2", "2 is not between 0 and 1"),
        ("--until=noon", "noon is not a date and time with an offset"),
        ("--until=2026-05-01T12:00:00", "not a date and time with an offset"),
    ],
)
def test_options_that_make_no_sense_are_rejected(option: str, message: str) -> None:
    command = ["simulate_compute", "--url=http://127.0.0.1:9", "--client-id=a", "--client-secret=b"]

    with pytest.raises(CommandError, match=message):
        call_command(*command, option)


@pytest.mark.django_db(transaction=True)
def test_without_a_seed_each_run_has_tasks_of_its_own(live_server: Any) -> None:
    client, secret = create_compute_client("cluster")
    for _ in range(2):
        call_command(
            "simulate_compute",
            *(f"--url={live_server}", f"--client-id={client.client_id}", f"--client-secret={secret}"),
            *("--tasks=2", "--rate=10000", "--duplicate"),
            stdout=StringIO(),
            stderr=StringIO(),
        )

    assert Task.objects.count() == 4


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.management.commands.simulate_compute.requests", None)
    with pytest.raises(CommandError, match=r"pip install 'sartiq-tasks\[simulator\]'"):
        simulate("http://127.0.0.1:1", (type("Client", (), {"client_id": "a"}), "b"))


@pytest.mark.django_db(transaction=True)
def test_endings_that_were_lost_are_found_when_the_cluster_is_asked_a_day_later(
    live_server: Any, settings: Any
) -> None:
    client, secret = create_compute_client("cluster")
    words = [f"--url={live_server}", f"--client-id={client.client_id}", f"--client-secret={secret}"]
    command, port, told = Command(), free_port(), StringIO()
    command.stopped = threading.Event()
    options = ["--tasks=12", "--rate=100000", "--seed=3", f"--until={UNTIL}", "--lose=1", f"--status={port}"]
    given = {"target": call_command, "args": (command, *words, *options), "kwargs": {"stdout": told}}
    playing = threading.Thread(**given, daemon=True)
    playing.start()
    while "status API" not in told.getvalue():
        assert playing.is_alive()
        time.sleep(0.05)
    assert not any(task.is_ended for task in Task.objects.all())
    ended = sum(event["status"] in ENDINGS for event in command.last_updates.values())
    url = f"http://127.0.0.1:{port}/jobs"
    settings.SARTIQ_TASKS = {"PROBE_URL": url, "QUEUED_AFTER": timedelta(hours=1)}
    found = look(clock=lambda: timezone.now() + timedelta(days=1))
    command.stopped.set()
    playing.join(60)

    assert f"PROBE_URL={url}" in told.getvalue()
    assert found.answers["report"] == sum(task.is_ended for task in Task.objects.all()) == ended > 5


def test_the_table_counts_what_was_sent_by_what_was_answered() -> None:
    outcomes = Counter({("event", "200 stored"): 12, ("malformed", "422"): 3, ("event", "no answer"): 1})

    assert table_of(outcomes).splitlines() == [
        "sent as    200 stored  422  no answer  all",
        "event              12    0          1   13",
        "malformed           0    3          0    3",
    ]
