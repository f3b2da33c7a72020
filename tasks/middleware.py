"""Optional: a short way for deliveries, past the middleware that only pages need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import NoReverseMatch, Resolver404, ResolverMatch, get_script_prefix, resolve, reverse
from django.utils.decorators import sync_and_async_middleware

from .views import TaskWebhookView

__all__ = ("deliveries_first",)


@sync_and_async_middleware
def deliveries_first(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Send deliveries straight to the view, past session, CSRF, message and static-file middleware.

    Status, body and length of the answer are the same as through the whole chain, and ``ALLOWED_HOSTS``
    applies. Middleware after this one in ``MIDDLEWARE`` does not see deliveries; put before it what should.
    Under ASGI the view runs in the thread of the request's other synchronous code, as Django runs it.
    """
    matches = _matches()
    if not matches:
        return get_response

    def match_of(request: HttpRequest) -> ResolverMatch | None:
        # A middleware before this one may have given the request other URLs.
        return None if hasattr(request, "urlconf") else matches.get(request.path_info)

    if iscoroutinefunction(get_response):
        answer = sync_to_async(_answer, thread_sensitive=True)

        async def async_middleware(request: HttpRequest) -> HttpResponseBase:
            if match := match_of(request):
                return await answer(request, match)
            awaited: Awaitable[HttpResponseBase] = get_response(request)
            return await awaited

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if match := match_of(request):
            return _answer(request, match)
        response: HttpResponseBase = get_response(request)
        return response

    return middleware


def _matches() -> dict[str, ResolverMatch]:
    """Return the matches of the webhook's paths, if they lead to the app's view or a subclass of it.

    There are none under a prefix that captures, such as ``<slug:tenant>/api/v1/``.
    """
    try:
        path = f"/{reverse('sartiq_tasks:webhook').removeprefix(get_script_prefix())}"
        matches = {one: resolve(one) for one in (path, f"{path}/")}
    except (NoReverseMatch, Resolver404):
        return {}
    views = [getattr(match.func, "cls", object) for match in matches.values()]
    return matches if all(issubclass(view, TaskWebhookView) for view in views) else {}


def _answer(request: HttpRequest, match: ResolverMatch) -> HttpResponseBase:
    request.get_host()  # raises DisallowedHost, as CommonMiddleware has it do
    request.resolver_match = match
    response: Any = match.func(request, *match.args, **match.kwargs)
    if isinstance(response, SimpleTemplateResponse):
        response.render()
    # As CommonMiddleware sets it: otherwise the server would send the answer in chunks.
    if not response.has_header("Content-Length"):
        response.headers["Content-Length"] = str(len(response.content))
    answered: HttpResponseBase = response
    return answered
