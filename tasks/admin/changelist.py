"""The lists' ways: what they read of each row, and how ids become addresses."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from django.contrib.admin.utils import display_for_value
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from .addresses import event_url, task_url
from .display import EMPTY
from .filters import KnownValuesFilter


class RecordList(ChangeList):
    """A list that reads only what it shows."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        """Return the filtered rows without the columns that no list shows."""
        return super().get_queryset(request, exclude_parameters).for_list()  # type: ignore[attr-defined]

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        """Return the list's order, led by a column that is filtered and so the same in every row.

        It changes nothing but the index that serves it: see ``TaskStatusEventQuerySet.with_value()``.
        """
        ordering = super().get_ordering(request, queryset)
        filters = (one for one in self.filter_specs if isinstance(one, KnownValuesFilter))
        column = next((one.column for one in filters if one.value() is not None), None)
        if column is None:
            return ordering
        return [f"-{column}" if str(ordering[0]).startswith("-") else column, *ordering]

    def url_for_result(self, result: Any) -> str:
        """Return the address of the row's page."""
        if isinstance(result.pk, str):
            return task_url(result.pk, self.model_admin.admin_site.name)
        return event_url(result.pk, self.model_admin.admin_site.name)

    def rows(self) -> Iterator[SafeString]:
        """Yield the cells of each row as Django's list has them, the first one a link to the row's page.

        It leaves out what Django asks of each cell and none here has: forms, relations, icons. That
        was a third of a list's time.
        """
        names = map(str, self.list_display)
        columns = [(name, getattr(self.model_admin, name, attrgetter(name))) for name in names]
        for result in self.result_list:
            (first, value), *rest = ((name, _cell(read(result))) for name, read in columns)
            link = f'<a href="{self.url_for_result(result)}">{value}</a>'
            cells = "".join(f'<td class="field-{name}">{told}</td>' for name, told in rest)
            yield mark_safe(f'<th class="field-{first}">{link}</th>{cells}')  # noqa: S308 (escaped by _cell)


def _cell(value: Any) -> str:
    return conditional_escape(value if isinstance(value, str) else display_for_value(value, EMPTY))
