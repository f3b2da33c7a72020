"""What a post asks of the database: how many queries, how many round trips, and all of them prepared."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from oauth2_provider.models import get_access_token_model, get_application_model

from tasks.auth import known_tokens as tokens
from tasks.database.row_version import RowVersion
from tasks.ledger.recording import _ALL, _STATUSES
from tasks.ledger.upsert import record_in_one
from tasks.signals import event_recorded
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body, full_body

pytestmark = pytest.mark.django_db(transaction=True)
Post = Callable[..., HttpResponse]

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


#: What is asked of a token that was used before: PostgreSQL confirms it in the write.
AGAIN: dict[str, list[str]] = {"postgresql": [], "sqlite": ["SELECT"]}


def test_the_first_post_is_one_query_for_the_token_and_one_write(post: Post) -> None:
    assert queries_of(post, body()) == ["SELECT", *RECORD[connection.vendor]]


def test_the_next_is_one_write(post: Post) -> None:
    post(body())

    assert queries_of(post, body(progress=6)) == [*AGAIN[connection.vendor], *RECORD[connection.vendor]]


def test_a_duplicate_costs_no_more(post: Post) -> None:
    post(body())

    assert queries_of(post, body()) == [*AGAIN[connection.vendor], *COUNT[connection.vendor]]


@on_postgresql
@pytest.mark.parametrize("rejected", [body(progress=101), b"{"])
def test_who_sends_what_is_rejected_is_asked_of_the_database(post: Post, rejected: Any) -> None:
    post(body())

    with CaptureQueriesContext(connection) as captured:
        assert post(rejected).status_code == 422
    assert sum("oauth2_provider_accesstoken" in query["sql"] for query in captured) == 1


def test_a_listener_costs_no_query(post: Post) -> None:
    def listen(**said: Any) -> None:
        assert said["task"].status == "running"

    event_recorded.connect(listen)
    try:
        assert queries_of(post, body()) == ["SELECT", *RECORD[connection.vendor]]
    finally:
        event_recorded.disconnect(listen)


@pytest.mark.parametrize(
    ("superuser", "permissions"), [(True, 0), (False, 1)], ids=["superuser", "user with the permission"]
)
def test_a_users_token_costs_the_question_for_the_permission(superuser: bool, permissions: int) -> None:
    user = factories.user("add_taskstatusevent", is_superuser=superuser)
    client = Client(headers={"Authorization": f"Bearer {factories.token(user=user)}"})

    def post(content: Any) -> Any:
        return client.post(WEBHOOK, content, content_type="application/json")

    assert queries_of(post, body()) == ["SELECT"] * (1 + permissions) + RECORD[connection.vendor]


@on_postgresql
def test_a_post_is_one_round_trip_of_a_prepared_statement(post: Post) -> None:
    for number in range(4):
        post(body(progress=number))

    with messages() as sent:
        post(body(progress=50))

    assert "Parse" not in sent, "the statement is not parsed again"
    assert sent == ["Bind", "Describe", "Execute", "Sync"]


@on_postgresql
def test_a_post_of_a_sender_who_has_to_be_asked_for_is_two(post: Post) -> None:
    for number in range(4):
        tokens._seen.clear()
        post(body(progress=number))
    tokens._seen.clear()

    with messages() as sent:
        post(body(progress=50))

    assert sent == ["Bind", "Describe", "Execute", "Sync"] * 2


@on_postgresql
def test_a_users_post_is_two_round_trips_of_prepared_statements() -> None:
    token = factories.token(user=factories.user("add_taskstatusevent"))
    client = Client(headers={"Authorization": f"Bearer {token}"})
    for number in range(4):
        client.post(WEBHOOK, body(progress=number), content_type="application/json")

    with messages() as sent:
        assert client.post(WEBHOOK, body(progress=50), content_type="application/json").status_code == 200

    assert sent == ["Bind", "Describe", "Execute", "Sync"] * 2


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
            " WHERE statement LIKE 'WITH event AS%' AND statement LIKE '%xmin%'"
        )
        assert cursor.fetchone() == (1,)


@pytest.mark.parametrize("returning", [_STATUSES, _ALL])
@pytest.mark.parametrize(
    "confirmed",
    [
        [],
        [get_access_token_model(), get_application_model()],
        [get_access_token_model(), get_application_model(), get_user_model()],
    ],
    ids=len,
)
def test_psycopg_remembers_how_it_converted_the_statement(
    returning: tuple[str, ...], confirmed: list[Any]
) -> None:
    queries = pytest.importorskip("psycopg._queries")
    conditions = [RowVersion.of(model, 1, 1, connection).condition for model in confirmed]

    statement = record_in_one(",".join(returning), " AND ".join(conditions) or "true")

    assert len(statement.encode()) <= queries.MAX_CACHED_STATEMENT_LENGTH
    assert statement.count("%s") <= queries.MAX_CACHED_STATEMENT_PARAMS
