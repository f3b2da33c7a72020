"""Optional: a short way for deliveries, past what pages need."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import reverse

from .views import TaskWebhookView


def deliveries_first(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Take a delivery to its view at once: sessions, CSRF, messages and static files are nothing to it.

    It answers exactly as the whole chain would, and ``ALLOWED_HOSTS`` holds. What comes after it in
    ``MIDDLEWARE`` does not see deliveries; a backend that wants one of its own to see them puts
    that one before.
    """
    path = reverse("sartiq_tasks:webhook")
    paths = (path, f"{path}/")
    webhook = TaskWebhookView.as_view(schema=None)

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path_info not in paths:
            return get_response(request)
        request.get_host()  # raises DisallowedHost, as CommonMiddleware has it do
        response = webhook(request)
        return response.render() if isinstance(response, SimpleTemplateResponse) else response

    return middleware
