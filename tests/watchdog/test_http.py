"""The built-in probe, against a status API over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tasks.models import Task
from tasks.watchdog.answers import Alive, Answer, Failure, Gone, ProbeFailed, Report
from tasks.watchdog.asker import Asker
from tasks.watchdog.http import MAX_QUERY, ask_over_http
from tests.factories import body


class StatusAPI:
    """A server of a test's own: what it answers, and what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: self.say(handler, [])
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.requests.append((self.path, dict(self.headers.items())))
                api.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jobs"

    @staticmethod
    def say(handler: BaseHTTPRequestHandler, content: Any, status: int = 200, **headers: str) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)


@pytest.fixture
def api(settings: Any) -> Iterator[StatusAPI]:
    found = StatusAPI()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    settings.SARTIQ_TASKS = {"PROBE_URL": found.url, "PROBE_TIMEOUT": timedelta(seconds=5)}
    yield found
    found.server.shutdown()
    found.server.server_close()


def ask(*task_ids: str) -> list[Answer]:
    return list(ask_over_http([Task(task_id=one) for one in task_ids]))


def test_each_state(api: StatusAPI) -> None:
    items = [
        {"id": "a", "state": "running"},
        {"id": "b", "state": "queued"},
        {"id": "c", "state": "missing"},
        {"id": "d", "state": "completed", "last_update": body(task_id="d")},
        {"id": "e", "state": "completed"},
        {"id": "f", "state": "completed", "last_update": "no body"},
    ]
    api.answer = lambda handler: api.say(handler, items)

    assert ask(*"abcdef") == [Alive("a"), Alive("b"), Gone("c"), Report("d", body(task_id="d"))]


def test_what_is_sent(api: StatusAPI, settings: Any) -> None:
    settings.SARTIQ_TASKS = {"PROBE_URL": f"{api.url}?zone=eu", "PROBE_TOKEN": "secret"}
    ask("a&b=ü/ ", "c")

    ((path, headers),) = api.requests
    assert parse_qs(urlsplit(path).query) == {"zone": ["eu"], "id": ["a&b=ü/ ", "c"]}
    assert headers["Authorization"] == "Bearer secret"
    settings.SARTIQ_TASKS = {"PROBE_URL": api.url}
    ask("a")
    assert "Authorization" not in api.requests[1][1]


def test_long_ids_are_asked_for_in_several_requests(api: StatusAPI) -> None:
    ids = [f"{number:0255}" for number in range(100)]
    ask(*ids)

    asked = [one for path, _ in api.requests for one in parse_qs(urlsplit(path).query)["id"]]
    assert asked == ids
    assert len(api.requests) > 1
    assert all(len(path) <= MAX_QUERY + len("/jobs?") for path, _ in api.requests)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 500, "The cluster answered 500 Internal Server Error."),
        (b"", 404, "The cluster answered 404 Not Found."),
        (b"no JSON", 200, "not JSON"),
        (b"\xff", 200, "not JSON"),
        (b"[" * 100_000, 200, "not JSON"),
        ({"jobs": []}, 200, "not a list"),
        (["a"], 200, r"has 'a' instead of an object with an id \(1 in all\)"),
        ([{"state": "running"}, {"id": 5}], 200, r"has \{'state': 'running'\} instead .* \(2 in all\)"),
        ([None, [[]], {"id": "b" * 999, "state": "missing"}], 200, r"has None instead .* \(2 in all\)"),
    ],
)
def test_what_is_no_answer(api: StatusAPI, content: Any, status: int, words: str) -> None:
    api.answer = lambda handler: api.say(handler, content, status)

    with pytest.raises(ProbeFailed, match=words):
        ask("a")


@pytest.mark.parametrize("odd", [{"state": "running"}, {"id": None}, {"id": ["a"]}, "a", None, 1e300, []])
def test_an_entry_without_an_id_costs_the_others_nothing(
    api: StatusAPI, odd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """In whichever request: the first has an odd one, and the others are sent all the same."""
    ids = [f"{number:0255}" for number in range(30)]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked = parse_qs(urlsplit(handler.path).query)["id"]
        odd_ones = [odd] if ids[0] in asked else []
        api.say(handler, [*odd_ones, *({"id": one, "state": "running"} for one in asked if one != ids[5])])

    api.answer = answer
    answers = Asker().ask(ask_over_http, [Task(task_id=one) for one in ids])

    reason = f"The cluster's answer has {odd!r} instead of an object with an id (1 in all)."
    assert len(api.requests) > 1
    assert answers.pop(ids[5]) == Failure(ids[5], reason)
    assert answers == {one: Alive(one) for one in ids if one != ids[5]}
    assert caplog.messages == [f"Asking the cluster failed: {reason} tasks=30"]


def test_a_redirect_is_not_followed_and_carries_the_token_nowhere(api: StatusAPI, settings: Any) -> None:
    settings.SARTIQ_TASKS = {"PROBE_URL": api.url, "PROBE_TOKEN": "secret"}
    api.answer = lambda handler: api.say(handler, b"", 302, Location=f"{api.url}/elsewhere")

    with pytest.raises(ProbeFailed, match="302"):
        ask("a")
    assert len(api.requests) == 1


def test_nobody_listens(api: StatusAPI) -> None:
    api.server.shutdown()
    api.server.server_close()

    with pytest.raises(ProbeFailed, match="cannot be reached"):
        ask("a")


def test_an_answer_that_never_begins(api: StatusAPI, settings: Any) -> None:
    settings.SARTIQ_TASKS = {"PROBE_URL": api.url, "PROBE_TIMEOUT": timedelta(seconds=0.2)}
    api.answer = lambda handler: time.sleep(1)

    with pytest.raises(ProbeFailed, match="broke: timed out"):
        ask("a")


def test_an_answer_that_never_ends(api: StatusAPI, settings: Any) -> None:
    settings.SARTIQ_TASKS = {"PROBE_URL": api.url, "PROBE_TIMEOUT": timedelta(seconds=0.3)}

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(30):
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.1)

    api.answer = drip
    with pytest.raises(ProbeFailed, match="took too long"):
        ask("a")


def test_an_answer_that_breaks_off(api: StatusAPI) -> None:
    def break_off(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"no HTTP\r\n\r\n")

    api.answer = break_off
    with pytest.raises(ProbeFailed, match="broke"):
        ask("a")


def test_an_answer_that_is_too_long(api: StatusAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.watchdog.http.MAX_ANSWER_BYTES", 10)
    api.answer = lambda handler: api.say(handler, [{"id": "a", "state": "running"}])

    with pytest.raises(ProbeFailed, match="longer than 10 bytes"):
        ask("a")
