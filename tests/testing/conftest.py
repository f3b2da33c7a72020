"""Handlers of a test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.handlers.registry import declaring


@pytest.fixture(autouse=True)
def no_others() -> Iterator[None]:
    """Know no handler but those that the test declares."""
    with declaring():
        yield
