"""Several prefixes in one backend: each has a page and a document of its own."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from django.test import Client
from django.test.utils import override_script_prefix
from django.urls import include, path
from django.utils.http import escape_leading_slashes

import tasks.urls
from tasks.openapi.views import DocumentView
from tasks.views import TaskWebhookView

pytestmark = pytest.mark.django_db
DOCUMENT = DocumentView.as_view()


class Webhook(TaskWebhookView):
    """A host's subclass of the view."""


def shared(prefix: str, **options: Any) -> Any:
    return path(prefix, include("tasks.urls", **options))


@pytest.mark.parametrize(
    ("patterns", "prefixes"),
    [
        ([shared("api/v1/"), shared("old/api/")], ["/api/v1/", "/old/api/"]),
        ([shared("api/"), shared("<slug:tenant>/api/")], ["/api/", "/alpha/api/", "/beta/api/"]),
        ([shared("<path:tenant>/x/"), shared("x/")], ["/a/b c/x/", "/\u00df%25/x/", "/a%3Fb%23c/x/", "/x/"]),
        ([shared("one/", namespace="one"), shared("two/", namespace="two")], ["/one/", "/two/"]),
        ([shared("one/", namespace="one"), shared("one/<int:n>/", namespace="one")], ["/one/", "/one/7/"]),
        ([path("o/", include(([shared("a/"), shared("b/")], "outer")))], ["/o/a/", "/o/b/"]),
        ([path("bare/", include(tasks.urls.urlpatterns))], ["/bare/"]),
        ([shared("")], ["/"]),
        ([shared("/evil.example/")], ["/%2Fevil.example/"]),
        ([path("", include([shared("api/"), shared("api/v1/")]))], ["/api/", "/api/v1/"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("script", ["", "/under/it"])
def test_the_pages_know_the_prefix_by_which_they_are_asked(
    use_urls: Any, patterns: list[Any], prefixes: list[str], script: str
) -> None:
    use_urls(*patterns)
    with override_script_prefix(f"{script}/"):
        for prefix in prefixes:
            check(prefix, script)


def check(prefix: str, script: str) -> None:
    def client(method: str, address: str) -> Any:
        return Client().generic(
            method, escape_leading_slashes(address.removeprefix(script)), SCRIPT_NAME=script
        )

    page = client("GET", f"{script}{prefix}docs")
    (address,) = re.findall(r'data-document="([^"]*)"', page.content.decode())
    assert urlsplit(address).netloc == ""
    assert unquote(address) == unquote(f"{script}{prefix}openapi.json")
    served = client("GET", address).json()
    assert [unquote(one) for one in served["paths"]] == [
        unquote(f"{script}{prefix}{endpoint}") for endpoint in ("tasks/webhook", "login/access-token")
    ]
    for one in served["paths"]:
        assert client("POST", one).status_code in {400, 401}


@pytest.mark.parametrize(
    ("patterns", "page", "webhook"),
    [
        ([shared("api/"), path("schema.json", DOCUMENT)], "/schema.json", "/api/tasks/webhook"),
        ([path("x/openapi.json", DOCUMENT), shared("api/")], "/x/openapi.json", "/api/tasks/webhook"),
        (
            [path("x/openapi.json", DOCUMENT), path("x/tasks/webhook", Webhook.as_view()),
             path("x/", include("tasks.urls"))],
            "/x/openapi.json", "/x/tasks/webhook",
        ),
    ],
)  # fmt: skip
def test_the_document_at_a_path_of_the_hosts(
    use_urls: Any, patterns: list[Any], page: str, webhook: str
) -> None:
    use_urls(*patterns)

    assert webhook in Client().get(page).json()["paths"]
