"""The lists' ways: what they read of each row, and how ids become addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import Any
from urllib.parse import quote as percent_quoted

from django.contrib.admin.utils import display_for_value, quote
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.urls import URLResolver, get_resolver, get_script_prefix, get_urlconf, reverse
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from .display import EMPTY
from .filters import KnownValuesFilter

# Ids that cannot stand in a path: nothing at all, and what browsers resolve away. Django's quote()
# never makes these words of an id, because it writes an underscore as _5F.
_WORDS = {"": "_empty", ".": "_dot", "..": "_dots"}
_IDS = {word: task_id for task_id, word in _WORDS.items()}


def quoted(task_id: str) -> str:
    """Return ``task_id`` as the part of an address that stands for it."""
    return _WORDS.get(task_id) or str(quote(task_id))


def unworded(object_id: str) -> str:
    """Return the id of the address's part, still quoted as Django's admin wants it."""
    return _IDS.get(object_id, object_id)


def task_url(task_id: str, site: str = "admin") -> str:
    """Return the address of a task's page, whatever its id is."""
    before, after = _around_id("task", site)
    return f"{before}{percent_quoted(quoted(task_id), safe='')}{after}"


def event_url(event_id: int, site: str = "admin") -> str:
    """Return the address of an event's page."""
    return event_urls(site)(event_id)


def event_urls(site: str) -> Callable[[int], str]:
    """Return what tells the address of each event's page, for a page that has a thousand of them."""
    before, after = _around_id("taskstatusevent", site)
    return lambda event_id: f"{before}{event_id}{after}"


def _around_id(model: str, site: str) -> tuple[str, str]:
    return _resolved(model, site, get_script_prefix(), get_resolver(get_urlconf()))


# A list asks for a hundred addresses that differ in the id alone.
@lru_cache(maxsize=64)
def _resolved(model: str, site: str, prefix: str, resolver: URLResolver) -> tuple[str, str]:
    url = reverse(f"admin:sartiq_tasks_{model}_change", args=["0"], current_app=site)
    before, _id, after = url.rpartition("/0/")
    return f"{before}/", f"/{after}"


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
