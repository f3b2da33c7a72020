"""The statements that the coordinator sends to its workers for a delivery."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from tasks.handlers import on_change, on_event
from tasks.handlers.registry import declaring
from tasks.models import Reaction, Task
from tasks.signals import event_recorded
from tasks.testing import Handlers
from tests import factories
from tests.cluster import commands
from tests.conftest import WEBHOOK
from tests.factories import body

pytestmark = [pytest.mark.citus, pytest.mark.django_db(transaction=True)]
Post = Callable[..., HttpResponse]
STORED = ["BEGIN", "INSERT", "INSERT", "COMMIT"]


def sent_for(act: Callable[[], Any]) -> list[str]:
    """Return the commands that ``act`` has the coordinator send; all of them to one worker."""
    with commands(connection) as sent:
        act()
    assert len({port for _, port in sent}) == 1
    return [command for command, _ in sent]


def test_a_delivery_is_two_statements_and_one_commit_on_one_worker(post: Post) -> None:
    post(body())
    for number in range(6):  # by then every statement is prepared
        assert sent_for(partial(post, body(progress=10 + number))) == STORED


def test_a_duplicate_is_one_statement(post: Post) -> None:
    post(body())

    assert sent_for(lambda: post(body())) == ["BEGIN", "INSERT", "COMMIT"]


def test_a_sender_who_is_not_cached_is_read_at_the_coordinator() -> None:
    user = factories.user("add_taskstatusevent")
    for token in (factories.client_token(), factories.token(user=user)):
        client = Client(headers={"Authorization": f"Bearer {token}"})
        for number in range(2):
            content = body(progress=number, task_id=token)
            deliver = partial(client.post, WEBHOOK, content, content_type="application/json")
            assert sent_for(deliver) == STORED


def test_a_listener_costs_nothing(post: Post) -> None:
    told: list[str] = []

    def listen(**said: Any) -> None:
        told.append(said["task"].status)

    event_recorded.connect(listen)
    try:
        assert sent_for(lambda: post(body())) == STORED
    finally:
        event_recorded.disconnect(listen)
    assert told == ["running"]


def test_the_reactions_of_ten_handlers_are_one_statement(post: Post) -> None:
    with declaring():
        for number in range(10):
            on_event(name=f"handler-{number}")(lambda change: None)

        assert sent_for(lambda: post(body())) == ["BEGIN", "INSERT", "INSERT", "INSERT", "COMMIT"]
    assert Reaction.objects.count() == 10


def test_what_a_handler_writes_is_committed_with_its_mark_in_two_phases(post: Post) -> None:
    with declaring():
        on_change(name="note")(lambda change: factories.user(username=change.task_id))
        post(body())
        with commands(connection) as sent:
            Handlers().run()

    assert [command for command, _ in sent].count("PREPARE") >= 1
    Handlers().assert_done("note", task_id="task-1")


def test_a_revoked_token_is_rejected_at_once(post: Post) -> None:
    from oauth2_provider.models import get_access_token_model

    assert post(body()).status_code == 200
    get_access_token_model().objects.all().delete()

    assert post(body(progress=6)).status_code == 401
    assert Task.objects.get().event_count == 1
