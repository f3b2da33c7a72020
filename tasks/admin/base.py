"""What the pages of tasks and of events have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path

from .changelist import RecordList
from .export import FORMATS, export
from .paginator import CappedPaginator
from .permissions import ReadOnly


class RecordAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """A list that is fast at any size, exported as it is filtered; nothing in it can be changed."""

    change_list_template = "admin/sartiq_tasks/record_list.html"
    paginator = CappedPaginator
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    # No page is saved here, to go back to the list as it was; keeping its filters resolves each row's link.
    preserve_filters = False
    #: The columns of the files.
    export_columns: ClassVar[Sequence[str]] = ()

    class Media:
        css = {"all": ("sartiq_tasks/admin.css",)}
        js = ("sartiq_tasks/live.js", "sartiq_tasks/copy.js")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RecordList]:
        """Return the list's class."""
        return RecordList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Search as the QuerySet does; the term is taken as it is."""
        return (queryset.search(search_term) if search_term else queryset), False

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
        rows = self.get_changelist_instance(request).queryset.defer(None)
        return export(rows, self.export_columns, ending)
