"""A pytest plugin: ``pytest_plugins = ["sartiq.tasks.testing.fixtures"]`` in the topmost ``conftest.py``.

It needs pytest-django.
"""

from __future__ import annotations

import pytest

from .compute import Compute
from .handlers import Handlers

__all__ = ("compute", "handlers")


@pytest.fixture
def compute(db: None) -> Compute:
    """A compute cluster: ``compute.post(task_id="t1", status="failed")``."""
    return Compute()


@pytest.fixture
def handlers(db: None) -> Handlers:
    """The worker: ``handlers.run()``, then ``handlers.assert_done("shop.refund", task_id="t1")``."""
    return Handlers()
