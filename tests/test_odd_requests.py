"""No text in a query, a header, a path or a body makes any endpoint answer with a 5xx."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest
from django.test import Client
from django.urls import include, path

from tasks.ops.health import healthz, readyz
from tasks.ops.metrics import MetricsView
from tests import factories

pytestmark = pytest.mark.django_db
PAGES = ["openapi.json", "docs", "metrics", "healthz", "readyz"]
ENDPOINTS = ["tasks/webhook", "tasks/webhook/", "login/access-token", "login/access-token/", *PAGES]


def patterns(namespace: str) -> list[Any]:
    """Return the app's endpoints, with those that a project adds by itself."""
    return [
        path("", include("tasks.urls", namespace=namespace)),
        path("healthz", healthz),
        path("readyz", readyz),
        path("metrics", MetricsView.as_view()),
    ]


urlpatterns = [
    path("plain/api/v1/", include(patterns("plain"))),
    path("<path:tenant>/api/v1/", include(patterns("tenant"))),
]
METHODS = ["GET", "POST", "OPTIONS", "DELETE", "P\u00d6ST"]
HUGE = "a" * 70_000
NUL, NEWLINE, SURROGATE, BROKEN = "\0", "\r\n", "\xed\xa0\x80", "\xff\xfe"
ODD_TEXT = [
    "",
    NUL,
    f"a{NUL}b",
    NEWLINE,
    f"a{NEWLINE}b",
    SURROGATE,
    BROKEN,
    HUGE,
    "%",
    "\u00df",
    "{{x}}",
    "../",
]
QUERIES = [
    "script", "script=", "version=%0A", "version=", "format=", "format=%00", "format=api", "lang=xx",
    "_method=GET", "=&=&=", "&&&", "%", "%zz", "x=%00", "%00=x", "x=%0d%0a", "x=%ED%A0%80", "x=%FF",
    "a=1&a=2&a=%00",
    "&".join(["a=1"] * 2_000), *ODD_TEXT,
]  # fmt: skip
HEADERS = [
    "AUTHORIZATION", "ACCEPT", "ACCEPT_LANGUAGE", "IDEMPOTENCY_KEY", "WEBHOOK_ID", "WEBHOOK_TIMESTAMP",
    "WEBHOOK_SIGNATURE", "X_REQUEST_ID", "X_FORWARDED_FOR", "X_HTTP_METHOD_OVERRIDE", "COOKIE", "REFERER",
    "ORIGIN", "USER_AGENT", "TRANSFER_ENCODING", "CONTENT_ENCODING", "EXPECT", "IF_MODIFIED_SINCE",
]  # fmt: skip
CREDENTIALS = [
    "Basic",
    "Basic \xff",
    "Basic Og==",
    "Basic AAAA",
    "Bearer",
    "Bearer \0",
    f"Bearer {HUGE}",
    "\xff \xff",
]
PREFIXES = [
    "alpha",
    "%00",
    "a%0Ab",
    "%0D%0A",
    "%ED%A0%80",
    "%FF",
    "a/b/c",
    "%2E%2E",
    "{x}",
    "%25s",
    HUGE,
    "%C3%9F",
]
FORMS = [
    b"", b"&&&", b"=", b"%", b"username=%00&password=%00", b"username=%ED%A0%80&password=x", b"\xff\xfe=\x00",
    b"username=a&username=b&password=c", b"grant_type=client_credentials&client_id=%00&client_secret=%00",
    b"grant_type=client_credentials&client_id=%0A&client_secret=%ED%A0%80", b"grant_type=%00", b"grant_type=",
    b"grant_type=client_credentials&scope=%00&client_id=x", b"username=" + HUGE.encode() + b"&password=x",
    b"grant_type=refresh_token&refresh_token=%00", b"grant_type=authorization_code&code=%00&client_id=a",
    b"&".join([b"a=1"] * 2_000), b"{",
    b"--x\r\nContent-Disposition: form-data; name=\"\x00\"\r\n\r\n\x00\r\n--x--",
]  # fmt: skip
CONTENT_TYPES = [
    "application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-16",
    "multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary=\xff",
    "application/json", "application/json; charset=nonsense", "application/json;;;=", "text/plain", "\0",
    NEWLINE, HUGE, "",
]  # fmt: skip


@pytest.fixture(autouse=True)
def host(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.SARTIQ_TASKS = {"METRICS_TOKEN": "a token for Prometheus"}


def failures(requests: Iterable[tuple[str, str]], **odd: Any) -> list[tuple[str, str, int]]:
    """Return those of ``requests``, each a path and a method, that are answered with a 5xx."""
    client = Client(raise_request_exception=False)
    known = {"HTTP_AUTHORIZATION": f"Bearer {factories.client_token()}"}
    answers = [(path, method, client.generic(method, path, **(known | odd))) for path, method in requests]
    return [
        (path, method, answer.status_code) for path, method, answer in answers if answer.status_code >= 500
    ]


def under(prefix: str, methods: Iterable[str] = METHODS) -> Iterable[tuple[str, str]]:
    """Return every endpoint under ``prefix`` with each of ``methods``."""
    return product([f"/{prefix}/api/v1/{endpoint}" for endpoint in ENDPOINTS], methods)


@pytest.mark.parametrize("prefix", ["plain", "alpha"])
@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_a_query(prefix: str, query: str) -> None:
    assert failures(under(prefix), QUERY_STRING=query) == []


@pytest.mark.parametrize("header", HEADERS)
def test_a_header(header: str) -> None:
    for text in ODD_TEXT:
        assert failures(under("plain", ["POST"]), **{f"HTTP_{header}": text}) == [], text[:40]


@pytest.mark.parametrize("text", CREDENTIALS, ids=range(len(CREDENTIALS)))
def test_credentials(text: str) -> None:
    assert failures(under("plain"), HTTP_AUTHORIZATION=text) == []


@pytest.mark.parametrize("prefix", PREFIXES, ids=range(len(PREFIXES)))
def test_a_path(prefix: str) -> None:
    assert failures(under(prefix)) == []


@pytest.mark.parametrize("content_type", CONTENT_TYPES, ids=range(len(CONTENT_TYPES)))
def test_a_body(content_type: str) -> None:
    paths = ["/plain/api/v1/tasks/webhook", "/plain/api/v1/login/access-token"]
    for form in FORMS:
        answers = failures(product(paths, ["POST"]), data=form, content_type=content_type)
        assert answers == [], form[:40]
