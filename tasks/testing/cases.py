"""The same for unittest's test cases as the fixtures are for pytest."""

from __future__ import annotations

from functools import cached_property

from .compute import Compute
from .handlers import Handlers


class ComputeTestMixin:
    """Gives a ``TestCase`` or ``TransactionTestCase``, before which it is put, a cluster and a worker."""

    @cached_property
    def compute(self) -> Compute:
        """The cluster, which posts through the view."""
        return Compute()

    @cached_property
    def handlers(self) -> Handlers:
        """The worker, which runs when the test says so."""
        return Handlers()
