"""Optional: a short way for deliveries, past what pages need."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import NoReverseMatch, get_script_prefix, reverse

from .views import TaskWebhookView


def deliveries_first(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Take a delivery to its view at once: sessions, CSRF, messages and static files are nothing to it.

    Status, body and length of the answer are those of the whole chain, and ``ALLOWED_HOSTS`` holds.
    What comes after it in ``MIDDLEWARE`` does not see deliveries; a backend that wants one of its own
    to see them puts that one before.
    """
    try:
        path = f"/{reverse('sartiq_tasks:webhook').removeprefix(get_script_prefix())}"
    except NoReverseMatch:  # a prefix that captures, such as <slug:tenant>/api/v1/: only the URLs know it
        return get_response
    paths = (path, f"{path}/")
    webhook = TaskWebhookView.as_view(schema=None)

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path_info not in paths:
            return get_response(request)
        request.get_host()  # raises DisallowedHost, as CommonMiddleware has it do
        response: HttpResponse = webhook(request)
        if isinstance(response, SimpleTemplateResponse):
            response.render()
        # As CommonMiddleware sets it: else the server would send the answer in chunks.
        response.headers.setdefault("Content-Length", str(len(response.content)))
        return response

    return middleware
