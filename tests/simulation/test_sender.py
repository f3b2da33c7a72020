from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import requests

from tasks.simulation.faults import Delivery
from tasks.simulation.sender import Sender, TokenRejectedError

Answer = tuple[int, dict[str, str], dict[str, Any]]
STORED: Answer = (200, {}, {"id": 1, "task_id": "task-1", "duplicate": False})
TOKEN: Answer = (200, {}, {"access_token": "good"})
DELIVERY = Delivery("task-1", b"{}")


@contextmanager
def server(*answers: Answer | None, tokens: Sequence[Answer] = (TOKEN,)) -> Iterator[tuple[str, list[Any]]]:
    """Serve ``answers`` to posts of events in turn, the last for ever; None closes the connection."""
    seen: list[Any] = []
    left, tokens_left = list(answers), list(tokens)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            is_event = self.path.endswith("webhook")
            if is_event:
                seen.append((self.headers["Authorization"], self.headers["Content-Type"], content))
                answer = left.pop(0) if len(left) > 1 else left[0]
            else:
                answer = tokens_left.pop(0) if len(tokens_left) > 1 else tokens_left[0]
            if answer is None:
                self.connection.close()
                return
            status, headers, value = answer
            text = json.dumps(value).encode()
            self.send_response(status)
            for name, content_of in {"Content-Length": str(len(text)), **headers}.items():
                self.send_header(name, content_of)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}", seen
        finally:
            running.shutdown()
            thread.join()


def send(url: str, **changes: Any) -> tuple[Any, list[float]]:
    """Post one delivery without really sleeping; return its outcome and the pauses there would have been."""
    pauses: list[float] = []
    sender = Sender(url, "id", "secret", sleep=pauses.append, **changes)
    with requests.Session() as session:
        return sender.post(session, DELIVERY), pauses


def test_an_answer_is_told() -> None:
    with server(STORED) as (url, seen):
        outcome, pauses = send(url)

    assert seen == [("Bearer good", "application/json", b"{}")]
    assert (outcome.status, outcome.answer, outcome.attempts) == (200, "200 stored", 1)
    assert outcome.is_expected
    assert pauses == []


def test_a_duplicate_is_told_apart() -> None:
    with server((200, {}, {"duplicate": True})) as (url, _):
        outcome, _ = send(url)

    assert outcome.answer == "200 duplicate"


def test_a_rejection_is_final() -> None:
    with server((422, {}, {"detail": []})) as (url, seen):
        outcome, _ = send(url)

    assert len(seen) == 1
    assert outcome.answer == "422"
    assert not outcome.is_expected


@pytest.mark.parametrize("length", ["1000", "51"])
def test_half_an_answer_is_none(length: str) -> None:
    half = (200, {"Content-Length": length, "Connection": "close"}, STORED[2])
    with server(half, STORED) as (url, seen):
        outcome, _ = send(url)

    assert (outcome.status, outcome.attempts, len(seen)) == (200, 2, 2)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_token_is_asked_for_again_if_there_can_be_none_now(status: int) -> None:
    with server(STORED, tokens=[(status, {}, {}), (status, {}, {}), TOKEN]) as (url, seen):
        outcome, pauses = send(url)

    assert (outcome.status, len(seen)) == (200, 1)
    assert pauses == [0.2, 0.4]


@pytest.mark.parametrize(
    ("headers", "waited"),
    [({}, 0.2), ({"Retry-After": "7"}, 7), ({"Retry-After": "soon"}, 0.2), ({"Retry-After": "0"}, 0.2)],
)
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_when_the_server_says(status: int, headers: Any, waited: float) -> None:
    with server((status, headers, {}), STORED) as (url, _):
        outcome, pauses = send(url)

    assert (outcome.status, outcome.attempts) == (200, 2)
    assert pauses == [waited]


def test_a_broken_connection_is_tried_again_with_growing_pauses() -> None:
    with server(None, None, None, STORED) as (url, _):
        outcome, pauses = send(url)

    assert (outcome.status, outcome.attempts) == (200, 4)
    assert pauses == [0.2, 0.4, 0.8]


def test_patience_ends_without_an_answer() -> None:
    with server(None) as (url, _):
        outcome, _ = send(url, patience=0)

    assert (outcome.status, outcome.answer, outcome.attempts) == (None, "no answer", 1)
    assert not outcome.is_expected


def test_patience_ends_with_the_last_answer() -> None:
    with server((503, {"Retry-After": "3600"}, {})) as (url, _):
        outcome, _ = send(url)

    assert (outcome.answer, outcome.attempts) == ("503", 1)


def test_an_expired_token_is_replaced_once() -> None:
    with server((401, {}, {}), STORED) as (url, seen):
        outcome, pauses = send(url)

    assert (outcome.status, outcome.attempts, len(seen)) == (200, 1, 2)
    assert pauses == []


def test_a_token_that_another_thread_has_fetched_is_used() -> None:
    with server(STORED) as (url, _), requests.Session() as session:
        sender = Sender(url, "id", "secret", _token="theirs")

        assert sender.log_in(session, instead_of="expired") == "theirs"


def test_a_rejected_client_is_an_error() -> None:
    with (
        server(STORED, tokens=[(401, {}, {"error": "invalid_client"})]) as (url, _),
        pytest.raises(TokenRejectedError, match=r"401 .*invalid_client"),
    ):
        send(url)


def test_all_are_posted_and_each_tasks_in_order() -> None:
    deliveries = [Delivery(f"task-{n % 5}", f"{n}".encode()) for n in range(60)]
    with server(STORED) as (url, seen):
        outcomes = list(Sender(url, "id", "secret").post_all(deliveries, rate=10_000))

    numbers = [int(content) for _, _, content in seen]
    assert len(outcomes) == 60
    assert {outcome.status for outcome in outcomes} == {200}
    for task in range(5):
        of_task = [number for number in numbers if number % 5 == task]
        assert of_task == sorted(of_task)
        assert len(of_task) == 12


def test_the_rate_is_kept_by_pauses() -> None:
    pauses: list[float] = []
    deliveries = [DELIVERY] * 3
    with server(STORED) as (url, _):
        list(Sender(url, "id", "secret", sleep=pauses.append).post_all(deliveries, rate=0.1))

    assert [round(pause / 10) for pause in pauses] == [0, 1, 2]


def test_what_is_not_sent_when_the_reader_stops_is_not_sent_later() -> None:
    deliveries = [DELIVERY] * 50
    with server(STORED) as (url, seen):
        outcomes = Sender(url, "id", "secret").post_all(deliveries, rate=500)
        next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]
        stopped_at = len(seen)

    assert stopped_at == len(seen) < 50
