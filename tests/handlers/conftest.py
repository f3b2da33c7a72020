"""Handlers of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.handlers.registry import declaring
from tests.handlers.processes import POSTGRESQL
from tests.servers import copy_migrated_sqlite, private_postgresql, temporary_directory


@pytest.fixture(autouse=True)
def no_others() -> Iterator[None]:
    """Know no handler but those that the test declares."""
    with declaring():
        yield


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    """A migrated database of this test's own, of the kind that the suite runs on."""
    if POSTGRESQL:
        with temporary_directory() as directory, private_postgresql(directory) as server:
            yield server.url
        return
    url = f"sqlite:///{tmp_path}/db.sqlite3"
    copy_migrated_sqlite(url)
    yield url
