"""The statement of a delivery is converted once, however long it is, and tools see it as before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import ProgrammingError, connection, transaction
from django.db.backends.postgresql import base
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tasks.database import long_statements
from tasks.database.long_statements import cursor_for_long_statements
from tasks.handlers.registry import declaring, on_change, on_event, on_found
from tasks.signals import event_recorded
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one cursor"),
]


@pytest.fixture
def handlers() -> Any:
    with declaring():
        for name in ("one", "two", "three"):
            on_event(name=name)(print)
        on_change(name="four")(print)
        on_found(name="five")(print)
        yield


def poster(user: Any = None) -> Callable[[Any], Any]:
    """Return what posts an event with the token of a client, or of ``user``."""
    client = Client(headers={"Authorization": f"Bearer {factories.token(user=user)}"})

    def post(content: Any) -> Any:
        response = client.post(WEBHOOK, content, content_type="application/json")
        assert response.status_code == 200
        return response

    return post


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collect the statements that psycopg converts."""
    queries = pytest.importorskip("psycopg._queries")
    split, statements = queries._split_query, []

    def noting(query: bytes, *args: Any, **kwargs: Any) -> Any:
        statements.append(query)
        return split(query, *args, **kwargs)

    monkeypatch.setattr(queries, "_split_query", noting)
    return statements


def says_nothing(**_said: Any) -> None:
    """Receive ``event_recorded``."""


BINDING = pytest.mark.parametrize(
    "factory", [base.ServerBindingCursor, base.Cursor], ids=["bound by PostgreSQL", "bound in the client"]
)


@BINDING
@pytest.mark.parametrize("announced", [False, True], ids=["unheard", "announced"])
@pytest.mark.parametrize("handled", [False, True], ids=["unhandled", "handled"])
@pytest.mark.parametrize("is_users", [False, True], ids=["client", "user"])
def test_a_delivery_converts_nothing(
    request: Any,
    monkeypatch: pytest.MonkeyPatch,
    converted: list[bytes],
    *,
    is_users: bool,
    handled: bool,
    announced: bool,
    factory: Any,
) -> None:
    if handled:
        request.getfixturevalue("handlers")
    if announced:
        event_recorded.connect(says_nothing)
        request.addfinalizer(lambda: event_recorded.disconnect(says_nothing))
    monkeypatch.setattr(connection.connection, "cursor_factory", factory)
    post = poster(factories.user("add_taskstatusevent") if is_users else None)
    for number in range(2):
        post(body(progress=number))
    converted.clear()
    long_statements._numbered.cache_clear()

    for number in range(3, 9):
        post(body(progress=number))

    assert converted == []
    assert long_statements._numbered.cache_info().misses <= 1


@pytest.mark.usefixtures("handlers")
def test_tools_see_the_statement_with_its_values() -> None:
    seen: list[tuple[str, Any]] = []
    post = poster(factories.user("add_taskstatusevent"))
    post(body())

    def noting(run: Any, sql: str, params: Any, *args: Any) -> Any:
        seen.append((sql, params))
        return run(sql, params, *args)

    with connection.execute_wrapper(noting), CaptureQueriesContext(connection) as captured:
        post(body(task_id="train-100%-done", progress=6))

    ((sql, params),) = seen
    assert len(sql) > 4096
    assert sql.count("%s") == len(params)
    (query,) = captured
    assert "'train-100%-done'" in query["sql"]
    assert "%s" not in query["sql"]
    assert "$1" not in query["sql"]


class TracingInServer(base.ServerBindingCursor):
    """The class of a host that traces statements, for example."""


class TracingInClient(base.Cursor):
    """The same for the other kind."""


@pytest.mark.parametrize("factory", [TracingInServer, TracingInClient])
def test_a_hosts_own_cursor_class_stays(monkeypatch: pytest.MonkeyPatch, factory: Any) -> None:
    post = poster()
    post(body())
    monkeypatch.setattr(connection.connection, "cursor_factory", factory)

    with cursor_for_long_statements(connection) as cursor:
        assert type(cursor.cursor) is factory
    post(body(progress=6))


def test_psycopg2s_cursor_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(base, "ServerBindingCursor")
    long_statements._factories.cache_clear()
    try:
        with cursor_for_long_statements(connection) as cursor:
            assert type(cursor.cursor) is TracingInServer.__base__
    finally:
        long_statements._factories.cache_clear()


def test_a_session_has_one_cursor_for_all_but_no_two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.connection, "cursor_factory", base.ServerBindingCursor)
    with cursor_for_long_statements(connection) as first:
        first.execute("SELECT %s::text", ["first"])
        with cursor_for_long_statements(connection) as within:
            within.execute("SELECT %s::int", [2])
            assert within.cursor is not first.cursor
            assert within.fetchone() == (2,)
        assert first.fetchone() == ("first",)
    with (
        pytest.raises(ProgrammingError),
        transaction.atomic(),
        cursor_for_long_statements(connection) as failing,
    ):
        failing.execute("SELECT nothing_of_that_name")
    with cursor_for_long_statements(connection) as again:
        again.execute("SELECT %s::bool", [True])
        assert again.fetchone() == (True,)

    assert failing.cursor is again.cursor is within.cursor


@pytest.mark.django_db(transaction=True)
def test_a_new_session_has_a_cursor_of_its_own() -> None:
    with cursor_for_long_statements(connection) as cursor:
        cursor.execute("SELECT 1")
    former = connection.connection
    connection.close()

    with cursor_for_long_statements(connection) as cursor:
        cursor.execute("SELECT 2")
        assert cursor.fetchone() == (2,)
        assert cursor.cursor.connection is connection.connection is not former


def test_other_cursors_are_djangos_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with cursor_for_long_statements(connection), connection.cursor() as other:
        assert type(other.cursor) is base.ServerBindingCursor

    def fail() -> None:
        raise RuntimeError

    monkeypatch.setattr(connection, "cursor", fail)
    with pytest.raises(RuntimeError):
        cursor_for_long_statements(connection)
    assert connection.connection.cursor_factory is base.ServerBindingCursor


@BINDING
@pytest.mark.parametrize(
    ("statement", "values", "row"),
    [
        ("SELECT %s::int, %s::text", [1, "%s"], (1, "%s")),
        ("SELECT 'a%%b' LIKE 'a%%', %s::text", ["$1"], (True, "$1")),
        ("SELECT 7 %% %s", [4], (3,)),
        ("SELECT 7 -%s, %s::text", [-4, None], (11, None)),
        ("SELECT %s::text, %s::text", ["it's", "a\\'b\u00e9"], ("it's", "a\\'b\u00e9")),
        ("SELECT '100%', '%s'", None, ("100%", "%s")),
        (f"SELECT '{'x' * 5000}', {','.join(['%s::int'] * 60)}", [*range(60)], ("x" * 5000, *range(60))),
    ],
)
def test_a_statement_means_the_same(
    monkeypatch: pytest.MonkeyPatch, factory: Any, statement: str, values: Any, row: Any
) -> None:
    monkeypatch.setattr(connection.connection, "cursor_factory", factory)
    with connection.cursor() as djangos:
        djangos.execute(statement, values)
        assert djangos.fetchone() == row
    with cursor_for_long_statements(connection) as cursor:
        cursor.execute(statement, values)
        assert cursor.fetchone() == row
        assert cursor.cursor._query.query == djangos.cursor._query.query
