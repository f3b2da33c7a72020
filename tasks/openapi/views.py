"""The OpenAPI document of the app's endpoints, and its interactive page."""

from __future__ import annotations

import logging
from typing import Any

from django.apps import apps
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.templatetags.static import static
from django.urls import get_script_prefix, is_valid_path, reverse
from django.utils.decorators import method_decorator
from django.utils.encoding import escape_uri_path
from django.utils.html import format_html
from django.utils.http import escape_leading_slashes
from django.views import View

from ..conf import app_settings
from .document import TITLE, document

__all__ = ("DocsView", "DocumentView")

logger = logging.getLogger("sartiq_tasks.openapi")

_URLS = f"{__package__.rpartition('.')[0]}.urls"


@method_decorator(login_not_required, name="dispatch")
class DocumentView(View):
    """The document."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> JsonResponse:
        """Return the document."""
        return JsonResponse(
            document(
                webhook_path=_sibling_path(request, "openapi", "webhook"),
                token_path=_sibling_path(request, "openapi", "access-token"),
                authenticators=[authenticator() for authenticator in app_settings().authenticators],
            )
        )


@method_decorator(login_not_required, name="dispatch")
class DocsView(View):
    """The interactive page of the document; its files come from drf-spectacular-sidecar, so it works offline.

    It uses no template, because a host need not have a template engine.
    """

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the page, or a 404 that says what it lacks."""
        if not apps.is_installed("drf_spectacular_sidecar"):
            detail = "This page needs drf_spectacular_sidecar in INSTALLED_APPS."
            return JsonResponse({"detail": detail}, status=404)
        swagger = "drf_spectacular_sidecar/swagger-ui-dist"
        files = {
            "icon": f"{swagger}/favicon-32x32.png",
            "swagger_css": f"{swagger}/swagger-ui.css",
            "css": "sartiq_tasks/docs.css",
            "swagger_js": f"{swagger}/swagger-ui-bundle.js",
            "js": "sartiq_tasks/docs.js",
        }
        try:
            urls = {name: static(file) for name, file in files.items()}
        except (ImproperlyConfigured, ValueError):  # no STATIC_URL; not in the storage's manifest
            logger.exception("The static files of the page cannot be found")
            detail = "This page needs its static files: set STATIC_URL and run manage.py collectstatic."
            return JsonResponse({"detail": detail}, status=404)
        return HttpResponse(
            format_html(_DOCS, title=TITLE, document=_sibling_path(request, "docs", "openapi"), **urls)
        )


_DOCS = """<!DOCTYPE html>
<html lang="en">
<head>
<title>{title}</title>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="{icon}">
<link rel="stylesheet" href="{swagger_css}">
<link rel="stylesheet" href="{css}">
</head>
<body>
<div id="swagger-ui" data-document="{document}"></div>
<script src="{swagger_js}"></script>
<script src="{js}"></script>
</body>
</html>
"""


def _sibling_path(request: HttpRequest, own: str, name: str) -> str:
    """Return the path of the endpoint ``name`` under the prefix by which ``request`` came to ``own``.

    ``reverse()`` would not do: of several prefixes that share a namespace it knows only one.
    """
    routes = [reverse(one, urlconf=_URLS).removeprefix(get_script_prefix()) for one in (own, name)]
    path = f"{request.path_info.removesuffix(routes[0])}{routes[1]}"
    if is_valid_path(path):
        return escape_leading_slashes(get_script_prefix() + escape_uri_path(path.removeprefix("/")))
    # The host gave the page another path.
    match: Any = request.resolver_match
    return reverse(f"{match.namespace or 'sartiq_tasks'}:{name}", args=match.args, kwargs=match.kwargs)
