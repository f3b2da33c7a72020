"""The base of the lists and pages of tasks, events, rejected deliveries, handlers and reactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path

from ..querysets.text import may_be_stored
from .addresses import row_id
from .changelist import RecordList
from .display import EMPTY
from .export import FORMATS, export
from .paginator import CappedPaginator
from .permissions import ReadOnly
from .zones import InViewersZone

#: What a list shows and offers. Type checkers would allow a host's subclass only as many as ours.
Names = list[Any] | tuple[Any, ...]


class RecordAdmin(InViewersZone, ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """A read-only list that is fast at any size and can be exported as it is filtered."""

    change_list_template = "admin/sartiq_tasks/record_list.html"
    paginator = CappedPaginator
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    # Django keeps the filters for the way back after saving. Nothing is saved here, and keeping them is slow.
    preserve_filters = False
    empty_value_display = EMPTY
    #: The columns without an index, by which the list sorts only the rows at its head.
    sorted_in_newest: ClassVar[Sequence[str]] = ()
    #: The columns of the exported files.
    export_columns: ClassVar[Sequence[str]] = ()

    class Media:
        css = {"all": ("sartiq_tasks/admin.css",)}
        js = ("sartiq_tasks/live.js", "sartiq_tasks/copy.js", "sartiq_tasks/plots.js", "sartiq_tasks/zone.js")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RecordList]:
        """Return the list's class."""
        return RecordList

    def for_list(self, rows: Any) -> Any:
        """Return the rows with only the columns that the list shows."""
        return rows.for_list()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the filters alone: another lookup may read the whole table, or fail in the database."""
        return any(_reads(one, lookup) for one in self.get_list_filter(request))  # type: ignore[arg-type]

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Search for the term as a whole: Django would split it at blanks."""
        if not may_be_stored(search_term):
            return queryset.none(), False
        is_searched = search_term and self.get_search_fields(request)
        return (self.found(request, queryset, search_term) if is_searched else queryset), False

    def found(self, request: HttpRequest, rows: Any, term: str) -> Any:
        """Return the rows that a search for ``term`` finds."""
        return rows.search(term)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the row with the id, or None. Django fails for an empty ``from_field`` or a NUL."""
        return (
            super().get_object(request, object_id, from_field or None) if may_be_stored(object_id) else None
        )

    def may_be_id(self, text: str) -> bool:
        """Return whether the database can be asked for the row with the id ``text``."""
        return row_id(text) is not None

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> Any:
        """Run an action on the selected rows, if the selection is a list of ids."""
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(map(self.may_be_id, selected)):
            raise BadRequest("What was selected is not a list of ids.")
        return super().response_action(request, queryset, *args, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        """Add the export."""
        view = self.admin_site.admin_view(self.export_view)
        name = f"sartiq_tasks_{self.opts.model_name}_export"
        return [path("export.<str:ending>", view, name=name), *super().get_urls()]

    def export_view(self, request: HttpRequest, ending: str) -> StreamingHttpResponse:
        """Return the list's rows, as filtered and searched by the query string, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if ending not in FORMATS:
            raise Http404
        try:
            rows = self.get_changelist_instance(request).queryset.defer(None)
        except IncorrectLookupParameters as error:
            raise BadRequest("The list has no such page.") from error
        return export(rows, self.export_columns, ending, self.exported)

    def exported(self, row: Any, column: str) -> Any:
        """Return the row's value of a column of the exported files."""
        return getattr(row, column)


def _reads(list_filter: Any, parameter: str) -> bool:
    """Return whether a filter, of the app or added by a subclass in a host, reads the parameter."""
    if hasattr(list_filter, "parameters"):
        return bool(parameter in list_filter.parameters())
    if hasattr(list_filter, "parameter_name"):
        return bool(parameter == list_filter.parameter_name)
    field = list_filter if isinstance(list_filter, str) else list_filter[0]
    return bool(parameter == field or parameter.startswith(f"{field}__"))
