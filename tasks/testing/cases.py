"""The cluster and the worker for test cases of unittest, as the fixtures give them to pytest."""

from __future__ import annotations

from functools import cached_property

from .compute import Compute
from .handlers import Handlers


class ComputeTestMixin:
    """Give a ``TestCase`` or ``TransactionTestCase`` a cluster and a worker. Put it first among the bases."""

    @cached_property
    def compute(self) -> Compute:
        """The cluster, which posts through the view."""
        return Compute()

    @cached_property
    def handlers(self) -> Handlers:
        """The worker, which runs when the test says so."""
        return Handlers()
