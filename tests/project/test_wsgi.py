"""The application that the server runs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import request_finished
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import RequestFactory
from django.urls import path

import sartiq_tasks.wsgi


def whole(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"whole")


def in_parts(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse([b"in ", b"parts"])


urlpatterns = [path("whole", whole), path("in-parts", in_parts)]


@pytest.fixture
def finished(settings: Any) -> Iterator[list[str]]:
    """Collect what Django says when it ends a request."""
    settings.ROOT_URLCONF = __name__
    told: list[str] = []

    def tell(**said: Any) -> None:
        told.append("finished")

    request_finished.connect(tell)
    yield told
    request_finished.disconnect(tell)


def answer(address: str) -> tuple[str, Any]:
    """Return the status and the body of the answer, as the server is given them."""
    given = []
    body = sartiq_tasks.wsgi.application(
        RequestFactory().get(address).environ, lambda status, headers: given.append(status)
    )
    return given[0], body


def test_it_takes_the_projects_settings_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    wsgi = importlib.reload(sartiq_tasks.wsgi)

    assert wsgi.os.environ["DJANGO_SETTINGS_MODULE"] == "sartiq_tasks.settings"


@pytest.mark.django_db
def test_a_whole_answer_is_a_list_and_ends_the_request(finished: list[str]) -> None:
    assert answer("/whole") == ("200 OK", [b"whole"])
    assert finished == ["finished"]


@pytest.mark.django_db
def test_the_server_reads_and_closes_a_stream(finished: list[str]) -> None:
    status, body = answer("/in-parts")

    assert (status, list(body)) == ("200 OK", [b"in ", b"parts"])
    assert not finished
    body.close()
    assert finished == ["finished"]


@pytest.mark.django_db
def test_what_fails_at_the_end_of_a_request_costs_no_answer(
    finished: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**said: Any) -> None:
        raise ValueError("a receiver's own fault")

    request_finished.connect(fail)
    try:
        assert answer("/whole") == ("200 OK", [b"whole"])
    finally:
        request_finished.disconnect(fail)
    assert "a receiver's own fault" in caplog.text
