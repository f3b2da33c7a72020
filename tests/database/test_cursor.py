"""Statements go through ``connection.cursor()``, where a backend for tenants sets the schema."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from tests import factories
from tests.factories import body

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("content", [body(), body(progress=101)], ids=["stored", "rejected"])
@pytest.mark.parametrize("is_users", [False, True], ids=["client", "user"])
def test_every_delivery_asks_the_backend_for_its_cursors(
    monkeypatch: pytest.MonkeyPatch, client: Any, is_users: bool, content: Any
) -> None:
    statements: list[str] = []
    made: list[bool] = []
    cursor = connection.cursor
    user = factories.user("add_taskstatusevent") if is_users else None
    headers = {"Authorization": f"Bearer {factories.token(user=user)}"}

    def counting(*args: Any, **kwargs: Any) -> Any:
        made.append(True)
        return cursor(*args, **kwargs)

    def execute(run: Any, sql: str, *args: Any) -> Any:
        statements.append(sql)
        return run(sql, *args)

    monkeypatch.setattr(connection, "cursor", counting)
    for _ in range(3):
        made.clear()
        statements.clear()
        with connection.execute_wrapper(execute):
            client.post("/api/v1/tasks/webhook", content, content_type="application/json", headers=headers)

        of_tables = [sql for sql in statements if sql.startswith(("WITH", "SELECT"))]
        assert len(made) >= max(1, len(of_tables))
