"""The database that the project uses for each kind of query."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from oauth2_provider.models import AccessToken

from sartiq_tasks.routers import ReadFromReplica
from tasks.models import RejectedDelivery, Task, TaskStatusEvent

ROUTER = ReadFromReplica()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Task, "replica"),
        (TaskStatusEvent, "replica"),
        (RejectedDelivery, "replica"),
        # The default: whether someone may do something is never asked of a copy that lags behind.
        (User, None),
        (AccessToken, None),
    ],
)
def test_only_the_apps_own_reads_go_to_the_replica(model: Any, expected: str | None) -> None:
    assert ROUTER.db_for_read(model) == expected


@pytest.mark.parametrize("model", [Task, TaskStatusEvent, User])
def test_every_write_goes_to_the_primary(model: Any) -> None:
    assert ROUTER.db_for_write(model) == "default"


def test_only_the_primary_is_migrated() -> None:
    assert ROUTER.allow_migrate("default", "sartiq_tasks")
    assert not ROUTER.allow_migrate("replica", "sartiq_tasks")


def test_rows_of_both_may_be_related() -> None:
    assert ROUTER.allow_relation(Task(), TaskStatusEvent())
