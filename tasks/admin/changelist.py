"""The lists: the columns that they read, their order, and the links of their rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from operator import attrgetter
from typing import Any

from django.contrib.admin.utils import display_for_value
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

from ..models import Task, TaskStatusEvent
from .addresses import event_url, task_url
from .display import EMPTY
from .filters import Filter
from .paginator import MAX_COUNT


class RecordList(ChangeList):
    """A list that reads only what it shows."""

    #: Whether it is sorted by a column without an index: then it shows only the rows at its head.
    is_sorted_in_newest = False

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        if not self.is_popup:  # there is something to select in a popup alone
            self.title = capfirst(str(self.opts.verbose_name_plural))

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        """Return the filtered rows with only the columns that the list shows."""
        model_admin: Any = self.model_admin
        rows: Any = super().get_queryset(request, exclude_parameters)
        columns = dict(enumerate(map(str, self.list_display)))
        sorted_by = {columns.get(place) for place in self.get_ordering_field_columns()}
        self.is_sorted_in_newest = not sorted_by.isdisjoint(model_admin.sorted_in_newest)
        return model_admin.for_list(rows.among_newest(MAX_COUNT) if self.is_sorted_in_newest else rows)

    def rows_but_for(self, request: HttpRequest, filters: Collection[type[Filter]]) -> Any:
        """Return the rows as filtered and searched, as if none of ``filters`` were set."""
        rows: Any = self.root_queryset
        for one in self.filter_specs:
            if type(one) not in filters:
                rows = one.queryset(request, rows)
        return self.model_admin.get_search_results(request, rows, self.query)[0]

    def shows_all_but_for(self, filters: Collection[type[Filter]]) -> bool:
        """Return whether the page shows all that ``rows_but_for()`` returns for these filters."""
        specs: Any = self.filter_specs
        filtered = any(type(one) in filters and one.value() is not None for one in specs)
        return not (self.multi_page or filtered or self.is_sorted_in_newest)

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        """Return the list's order, led by the column of a filter whose index serves both.

        See ``TaskStatusEventQuerySet.with_value()``.
        """
        ordering = super().get_ordering(request, queryset)
        leading = [one.parameter_name for one in self.filter_specs if isinstance(one, Filter) and one.leads()]
        if not leading:
            return ordering
        # A range of times reads no more rows than it has.
        column = "timestamp" if "timestamp" in leading else leading[0]
        return [f"-{column}" if str(ordering[0]).startswith("-") else column, *ordering]

    def url_for_result(self, result: Any) -> str:
        """Return the address of the row's page."""
        site = self.model_admin.admin_site.name
        if isinstance(result, Task):
            return task_url(result.pk, site)
        if isinstance(result, TaskStatusEvent):
            return event_url(result.pk, site)
        return str(super().url_for_result(result))

    def rows(self) -> Iterator[SafeString]:
        """Yield the cells of each row as Django's list has them, the first one a link to the row's page.

        It leaves out the forms, relations and icons that Django looks for in each cell: no cell here has
        any.
        """
        names = map(str, self.list_display)
        columns = [(name, getattr(self.model_admin, name, attrgetter(name))) for name in names]
        linked = next(name for name, _read in columns if name != "action_checkbox")
        for result in self.result_list:
            cells = []
            for name, read in columns:
                told = _cell(read(result))
                if name == linked:
                    link = f'<a href="{self.url_for_result(result)}">{told}</a>'
                    cells.append(f'<th class="field-{name}">{link}</th>')
                elif name == "action_checkbox":
                    cells.append(f'<td class="action-checkbox">{told}</td>')
                else:
                    cells.append(f'<td class="field-{name}">{told}</td>')
            yield mark_safe("".join(cells))  # noqa: S308 (escaped by _cell)


def _cell(value: Any) -> str:
    return conditional_escape(value if isinstance(value, str) else display_for_value(value, EMPTY))
