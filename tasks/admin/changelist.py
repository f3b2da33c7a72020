"""The lists: the columns that they read, their order, and the links of their rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import cached_property
from html import escape
from operator import attrgetter
from typing import Any
from urllib.parse import quote_plus

from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import display_for_value
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import conditional_escape
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from ..models import Task, TaskStatusEvent
from .addresses import row_urls
from .display import EMPTY
from .filters import Filter
from .paginator import MAX_COUNT

#: What stands for a row's id and name in the checkbox that every row's is made of.
_ID, _NAME = "\ue000", "\ue001"


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

    def get_results(self, request: HttpRequest) -> None:
        """Read the first page, and count the rows only if there are more."""
        if self.page_num > 1 or self.show_all or self.model_admin.show_full_result_count:
            super().get_results(request)
            return
        rows = list(self.queryset[: self.list_per_page + 1])
        self.result_list = rows[: self.list_per_page]
        counted: Any = rows if len(rows) <= self.list_per_page else self.queryset
        self.paginator = self.model_admin.get_paginator(request, counted, self.list_per_page)
        self.result_count = self.paginator.count
        self.multi_page = self.result_count > self.list_per_page
        self.can_show_all = self.result_count <= self.list_max_show_all
        self.show_full_result_count, self.full_result_count = False, None
        self.show_admin_actions = True

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

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        """Return the list's address with other parameters, of which a page has a hundred."""
        left = tuple(remove or ())
        told = {name: text for name, text in self._parameters.items() if not (left and name.startswith(left))}
        for name, value in (new_params or {}).items():
            told.pop(name, None)
            if value is not None:
                is_text = isinstance(value, str)
                told[name] = (
                    f"{quote_plus(name)}={quote_plus(value)}"
                    if is_text
                    else urlencode({name: value}, doseq=True)
                )
        return f"?{'&'.join(told[name] for name in sorted(told))}"

    @cached_property
    def _parameters(self) -> dict[str, str]:
        """The list's own parameters, as its address has them."""
        return {name: urlencode({name: values}, doseq=True) for name, values in self.filter_params.items()}

    def url_for_result(self, result: Any) -> str:
        """Return the address of the row's page."""
        return str(super().url_for_result(result)) if self._url is None else self._url(result.pk)

    @cached_property
    def _url(self) -> Callable[[Any], str] | None:
        """The function that tells the address, except of a host's own model."""
        if self.opts.app_label != Task._meta.app_label and not issubclass(
            self.model, (Task, TaskStatusEvent)
        ):
            return None
        known = (one for one in (Task, TaskStatusEvent) if issubclass(self.model, one))
        return row_urls(str(next(known, self.model)._meta.model_name), self.model_admin.admin_site.name)

    def rows(self) -> list[SafeString]:
        """Return the cells of each row as Django's list has them, the first one a link to the row's page.

        It leaves out the forms, relations and icons that Django looks for in each cell: no cell here has
        any.
        """
        names = list(map(str, self.list_display))
        linked = next(name for name in names if name != "action_checkbox")
        columns = [(self._reader(name), _tag(name), name == linked) for name in names]

        rows = []
        # Each time in a row asks for the zone, which is found several times as fast if one is set.
        with timezone.override(timezone.get_current_timezone()):
            for result in self.result_list:
                cells = []
                for read, start, is_linked in columns:
                    told = _told(read(result))
                    if is_linked:
                        url = self.url_for_result(result)
                        cells.append(f'<th class="field-{linked}"><a href="{url}">{told}</a></th>')
                    else:
                        cells.append(f"{start}{told}</td>")
                rows.append(SafeString("".join(cells)))  # escaped by _told
        return rows

    def _reader(self, name: str) -> Callable[[Any], Any]:
        """Return what reads a column of a row."""
        if name == "action_checkbox" and type(self.model_admin).action_checkbox is ModelAdmin.action_checkbox:
            return _checkboxes(self.model_admin)
        read: Callable[[Any], Any] = getattr(self.model_admin, name, attrgetter(name))
        return read


def _tag(name: str) -> str:
    return '<td class="action-checkbox">' if name == "action_checkbox" else f'<td class="field-{name}">'


def _told(value: Any) -> str:
    if type(value) is SafeString:
        return value
    if type(value) is str:
        return escape(value)
    # Django looks for the format of the language, which writes small numbers as any other.
    if type(value) is int and 0 <= value < 1000:
        return str(value)
    return conditional_escape(value if isinstance(value, str) else display_for_value(value, EMPTY))


class _Row:
    """A row that no table has."""

    pk = _ID

    def __str__(self) -> str:
        return _NAME


def _checkboxes(model_admin: ModelAdmin[Any]) -> Callable[[Any], SafeString]:
    """Return what makes a row's checkbox as Django's widget does, whose template is rendered once."""
    pieces = re.split(f"([{_ID}{_NAME}])", str(model_admin.action_checkbox(_Row())))

    def checkbox(row: Any) -> SafeString:
        told = {_ID: escape(str(row.pk)), _NAME: escape(str(row))}
        return SafeString("".join(told.get(piece, piece) for piece in pieces))  # escaped

    return checkbox
