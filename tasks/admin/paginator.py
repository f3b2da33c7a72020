"""Paginate without counting the whole table, or reading rows that are not shown."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Page, Paginator
from django.utils.functional import cached_property

#: Rows beyond this number are not counted; filters and the search reach them instead of pages.
MAX_COUNT = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator that counts up to ``MAX_COUNT``; ``is_capped`` says that there are more rows."""

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        if isinstance(rows, list):
            return len(rows)
        return int(rows.order_by().values("pk")[: MAX_COUNT + 1].count())

    @cached_property
    def count(self) -> int:
        """Return the number of rows that pages show."""
        return min(self._counted, MAX_COUNT)

    @property
    def is_capped(self) -> bool:
        """Whether there are more rows than pages show."""
        return self._counted > MAX_COUNT

    def page(self, number: Any) -> Page[Any]:
        """Return a page. Of the rows before a later one PostgreSQL reads no more than an index has."""
        page: Any = super().page(number)
        if page.number > 1:
            rows: Any = self.object_list
            page.object_list = rows.filter(pk__in=page.object_list.values("pk"))
        return page  # type: ignore[no-any-return]
