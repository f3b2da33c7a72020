"""The sender of docs/how-to-send.md, run as it stands there, against a server that fails in every way."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "how-to-send.md").read_text()
CODE, USE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


class _Scripted(BaseHTTPRequestHandler):
    """Answers posts to the webhook by a script, and every request for a token with another token."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server: Any = self.server
        if self.path.endswith("access-token"):
            status = server.token_script.pop(0) if server.token_script else 200
            server.tokens += status == 200
            self.answer(status, f'{{"access_token": "token-{server.tokens}"}}')
            return
        server.posts.append((self.headers["Authorization"], self.headers["Idempotency-Key"], body))
        status = server.script.pop(0) if server.script else 200
        if status is None:
            self.close_connection = True
            return
        text = '{"id": 1, "task_id": "task-1", "duplicate": false}'
        if status == "a page":
            self.answer(200, "<html>")
        elif status == "half":
            self.answer(200, text, is_whole=False)
        elif status == "a date":
            self.answer(503, text, retry_after="Wed, 21 Oct 2026 07:28:00 GMT")
        else:
            self.answer(status, text)

    def do_GET(self) -> None:
        self.server.gets += 1  # type: ignore[attr-defined]
        self.answer(200, "{}")

    def answer(self, status: int, text: str, *, is_whole: bool = True, retry_after: str = "5") -> None:
        self.send_response(status)
        if status in (429, 503):
            self.send_header("Retry-After", retry_after)
        if status in (301, 302):
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(text) + (not is_whole)))
        self.close_connection = not is_whole
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    one: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Scripted)
    one.script, one.token_script, one.posts, one.tokens, one.gets = [], [], [], 0, 0
    thread = threading.Thread(target=one.serve_forever, args=(0.01,))
    thread.start()
    yield one
    one.shutdown()
    thread.join()
    one.server_close()


@pytest.fixture
def sender(server: Any) -> Iterator[Any]:
    namespace: dict[str, Any] = {}
    exec(CODE, namespace)
    slept: list[float] = []
    # Its own alone: other threads of this process sleep too.
    namespace["time"] = SimpleNamespace(**{**vars(time), "sleep": slept.append})
    one = namespace["Sender"](f"http://127.0.0.1:{server.server_port}", "ID", "SECRET")
    one.slept, one.namespace = slept, namespace
    yield one
    one.session.close()


def test_an_event_is_sent_once_where_all_is_well(server: Any, sender: Any) -> None:
    assert sender.send({"task_id": "task-1"})["id"] == 1
    assert (len(server.posts), sender.slept) == (1, [])


FAULTS = [301, 302, 400, 403, 404, 405, 408, 429, 500, 502, 503, 504, None, "a page", "half", "a date"]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_may_pass_is_sent_again_with_the_same_key_and_bytes(
    server: Any, sender: Any, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [fault, fault]

    sender.send({"task_id": "task-1"})

    assert len(server.posts) == 3
    assert len(set(server.posts)) == 1
    assert len(sender.slept) == 2
    assert min(sender.slept) >= (5 if fault in (429, 503) else 0.5)
    assert max(sender.slept) <= 5
    assert server.gets == 0
    assert len(caplog.records) == 2
    assert str(fault) in caplog.text or not isinstance(fault, int)


def test_two_events_have_two_keys(server: Any, sender: Any) -> None:
    sender.send({"task_id": "task-1"})
    sender.send({"task_id": "task-1"})

    assert len({key for _token, key, _body in server.posts}) == 2


def test_a_401_is_answered_with_a_new_token_at_once(server: Any, sender: Any) -> None:
    server.script = [401]
    sender.send({"task_id": "task-1"})

    assert [token for token, _key, _body in server.posts] == ["Bearer token-1", "Bearer token-2"]
    assert sender.slept == []


@pytest.mark.parametrize("script", [[401, 401, 401, 401], [401, 503, 401, 503, 401], [None, 401, 401]])
def test_an_event_outlives_any_number_of_tokens(server: Any, sender: Any, script: list[int]) -> None:
    server.script = list(script)

    assert sender.send({"task_id": "task-1"})["id"] == 1

    assert len({(key, body) for _token, key, body in server.posts}) == 1
    assert len({token for token, _key, _body in server.posts}) == script.count(401) + 1
    assert len(sender.slept) <= script.count(503) + 2


@pytest.mark.parametrize("status", [400, 401, 404, 429, 503])
def test_an_event_waits_until_there_is_a_token(server: Any, sender: Any, status: int) -> None:
    server.token_script = [status, status]

    assert sender.send({"task_id": "task-1"})["id"] == 1

    assert (len(server.posts), len(sender.slept)) == (1, 2)
    assert min(sender.slept) >= (5 if status in (429, 503) else 0.5)


@pytest.mark.parametrize("status", [409, 411, 413, 415, 422])
def test_a_final_answer_is_never_followed_by_another_try(server: Any, sender: Any, status: int) -> None:
    server.script = [status]

    with pytest.raises(sender.namespace["Rejected"], match=str(status)):
        sender.send({"task_id": "task-1"})

    assert len(server.posts) == 1


def test_it_gives_up_after_its_patience_and_says_so(server: Any, sender: Any) -> None:
    server.script, sender.patience = [503, 503, 503], -1

    with pytest.raises(TimeoutError, match="send it later"):
        sender.send({"task_id": "task-1"})


@pytest.mark.django_db(transaction=True)
def test_the_real_server_takes_what_it_sends(live_server: Any) -> None:
    from tasks.auth.clients import create_compute_client
    from tasks.models import TaskStatusEvent

    client, secret = create_compute_client("how-to-send")
    namespace: dict[str, Any] = {}
    use = USE.replace("http://127.0.0.1:8000", live_server.url).replace('"ID"', f'"{client.client_id}"')
    exec(CODE + use.replace('"SECRET"', f'"{secret}"'), namespace)
    namespace["sender"].session.close()

    assert TaskStatusEvent.objects.get().source == "how-to-send"
