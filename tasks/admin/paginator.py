"""Pages without counting the whole table."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

#: Rows beyond these are not counted, and reached by filter and search instead of by page.
MAX_COUNT = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator that counts to ``MAX_COUNT`` and says ``is_capped`` where there is more."""

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: MAX_COUNT + 1].count())

    @cached_property
    def count(self) -> int:
        """Return the number of rows that pages show."""
        return min(self._counted, MAX_COUNT)

    @property
    def is_capped(self) -> bool:
        """Whether there are more rows than pages show."""
        return self._counted > MAX_COUNT
