"""The cost of a post at the database: how many queries and round trips, and all of them prepared."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tasks.auth import known_tokens as tokens
from tasks.auth import permissions
from tasks.signals import event_recorded
from tests import factories
from tests.cluster import not_on_citus
from tests.conftest import WEBHOOK
from tests.factories import body, full_body

pytestmark = [
    pytest.mark.django_db(transaction=True),
    not_on_citus("it takes plain statements, which tests/citus counts"),
]
Post = Callable[..., HttpResponse]


@pytest.fixture(autouse=True)
def _nothing_cached() -> None:
    tokens._known.clear()
    permissions._permitted.clear()


on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's own protocol")
RECORD = {"postgresql": ["WITH"], "sqlite": ["BEGIN", "INSERT", "INSERT", "COMMIT"]}
COUNT = {"postgresql": ["WITH"], "sqlite": ["BEGIN", "INSERT", "COMMIT"]}


def queries_of(post: Post, content: dict[str, Any], **extra: Any) -> list[str]:
    """Return the first word of each query of one post."""
    with CaptureQueriesContext(connection) as captured:
        assert post(content, **extra).status_code == 200
    return [query["sql"].split()[0] for query in captured]


@contextmanager
def messages() -> Iterator[list[str]]:
    """Collect the kinds of the messages that are sent to PostgreSQL, as libpq itself traces them."""
    sent: list[str] = []
    reading, writing = os.pipe()
    pgconn = connection.connection.pgconn
    pgconn.trace(writing)
    try:
        yield sent
    finally:
        pgconn.untrace()
        os.close(writing)
        with os.fdopen(reading) as trace:
            sent += re.findall(r"\tF\t\d+\t(\w+)", trace.read())


def test_the_first_post_is_one_query_for_the_token_and_one_write(post: Post) -> None:
    assert queries_of(post, body()) == ["SELECT", *RECORD[connection.vendor]]


def test_the_next_is_one_write(post: Post) -> None:
    post(body())

    assert queries_of(post, body(progress=6)) == RECORD[connection.vendor]


def test_a_duplicate_costs_no_more(post: Post) -> None:
    post(body())

    assert queries_of(post, body()) == COUNT[connection.vendor]


@pytest.mark.parametrize("rejected", [body(progress=101), b"{"])
def test_the_sender_of_a_rejected_delivery_is_read_from_the_database(post: Post, rejected: Any) -> None:
    post(body())

    with CaptureQueriesContext(connection) as captured:
        assert post(rejected).status_code == 422
    assert sum("oauth2_provider_accesstoken" in query["sql"] for query in captured) == 1


def test_a_listener_costs_no_query(post: Post) -> None:
    told: list[str] = []

    def listen(**said: Any) -> None:
        told.append(said["task"].status)

    event_recorded.connect(listen)
    try:
        assert queries_of(post, body()) == ["SELECT", *RECORD[connection.vendor]]
    finally:
        event_recorded.disconnect(listen)
    assert told == ["running"]


@pytest.mark.parametrize(
    ("superuser", "asked"), [(True, 0), (False, 2)], ids=["superuser", "user with the permission"]
)
def test_a_users_first_post_also_asks_for_the_permission(superuser: bool, asked: int) -> None:
    user = factories.user("add_taskstatusevent", is_superuser=superuser)
    client = Client(headers={"Authorization": f"Bearer {factories.token(user=user)}"})

    def post(content: Any) -> Any:
        return client.post(WEBHOOK, content, content_type="application/json")

    assert queries_of(post, body()) == ["SELECT"] * (1 + asked) + RECORD[connection.vendor]
    assert queries_of(post, body(progress=6)) == RECORD[connection.vendor]
    assert queries_of(post, body(progress=6)) == COUNT[connection.vendor]


@on_postgresql
def test_for_citus_it_is_two_plain_statements_and_the_credentials_apart(post: Post, settings: Any) -> None:
    settings.SARTIQ_TASKS = {**settings.SARTIQ_TASKS, "DISTRIBUTED": True}
    post(body())

    assert queries_of(post, body(progress=6)) == ["BEGIN", "SELECT", "INSERT", "INSERT", "COMMIT"]
    assert queries_of(post, body(progress=6)) == ["BEGIN", "SELECT", "INSERT", "COMMIT"]
    for number in range(4):
        post(body(progress=number))
    with messages() as sent:
        post(body(progress=50))
    assert "Parse" not in sent, "no statement is parsed again"


@pytest.mark.django_db
def test_within_a_transaction_it_is_the_same(post: Post) -> None:
    post(body())

    within = {"postgresql": ["WITH"], "sqlite": ["SAVEPOINT", "INSERT", "INSERT", "RELEASE"]}
    with transaction.atomic():
        assert queries_of(post, body(progress=6)) == within[connection.vendor]


@on_postgresql
def test_a_post_is_one_round_trip_of_a_prepared_statement(post: Post) -> None:
    for number in range(4):
        post(body(progress=number))

    with messages() as sent:
        post(body(progress=50))

    assert "Parse" not in sent, "the statement is not parsed again"
    assert sent == ["Bind", "Describe", "Execute", "Sync"]


@on_postgresql
def test_a_post_of_a_sender_who_is_not_cached_is_two(post: Post) -> None:
    for number in range(8):
        tokens._known.clear()
        post(body(progress=number))
    tokens._known.clear()

    with messages() as sent:
        post(body(progress=50))

    assert sent == ["Bind", "Describe", "Execute", "Sync"] * 2


@on_postgresql
def test_a_users_post_is_one_round_trip_too() -> None:
    token = factories.token(user=factories.user("add_taskstatusevent"))
    client = Client(headers={"Authorization": f"Bearer {token}"})
    for number in range(8):
        client.post(WEBHOOK, body(progress=number), content_type="application/json")

    with messages() as sent:
        assert client.post(WEBHOOK, body(progress=50), content_type="application/json").status_code == 200

    assert sent == ["Bind", "Describe", "Execute", "Sync"]


@on_postgresql
def test_a_rejected_token_is_one_round_trip(post: Post) -> None:
    for _ in range(4):
        post(body(), headers={"Authorization": "Bearer unknown"})

    with messages() as sent:
        assert post(body(), headers={"Authorization": "Bearer unknown"}).status_code == 401

    assert sent.count("Sync") == 1


@on_postgresql
def test_every_combination_of_types_and_nulls_is_one_prepared_statement(post: Post) -> None:
    bodies = [
        body(),
        full_body(),
        full_body(progress=12.5, metadata=None),
        body(progress=0, status=None),
        body(error_message="x" * 5000, error_category="oom"),
        body(timestamp="2026-05-01T12:00:00+02:00", completed_at="2026-05-01T12:00:00Z"),
    ]
    for round_ in range(3):
        for number, content in enumerate(bodies):
            sent = content | {"task_id": f"task-{number}", "metadata": {"round": round_}}
            assert post(sent).status_code == 200

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_prepared_statements"
            " WHERE statement LIKE 'WITH event AS%' AND statement LIKE '%token_checksum%'"
        )
        assert cursor.fetchone() == (1,)
