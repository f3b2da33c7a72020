"""The counterpart of the pytest fixtures for unittest's test cases."""

from __future__ import annotations

from functools import cached_property

from .compute import Compute
from .handlers import Handlers


class ComputeTestMixin:
    """Gives a ``TestCase`` or ``TransactionTestCase`` a cluster and a worker. Put it first of the bases."""

    @cached_property
    def compute(self) -> Compute:
        """The cluster, which posts through the view."""
        return Compute()

    @cached_property
    def handlers(self) -> Handlers:
        """The worker, which runs when the test says so."""
        return Handlers()
