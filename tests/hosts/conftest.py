"""Fixtures for all hosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.environments import new_database


@pytest.fixture
def host_database(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The settings of a new, empty database."""
    with new_database(tmp_path) as settings:
        yield settings
