"""The status API of a simulated cluster, which ``PROBE_URL`` can ask about its tasks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .stories import ENDINGS, Event


def last_updates(events: Iterable[Event]) -> dict[str, Event]:
    """Return the last event of each task; ``events`` are in order of time."""
    return {event["task_id"]: event for event in events}


def states(last: Mapping[str, Event], task_ids: Iterable[str]) -> list[dict[str, Any]]:
    """Return what the status API says of ``task_ids``: docs/lost-endings.md has the form."""
    return [_state(task_id, last.get(task_id)) for task_id in task_ids]


def _state(task_id: str, event: Event | None) -> dict[str, Any]:
    if event is None:
        return {"id": task_id, "state": "missing"}
    if event["status"] not in ENDINGS:
        return {"id": task_id, "state": "running"}
    return {"id": task_id, "state": event["status"], "last_update": event}


@contextmanager
def serving(last: Mapping[str, Event], *, port: int = 0) -> Iterator[str]:
    """Answer for the cluster on this machine until the end of the block; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked: Sequence[str] = parse_qs(urlsplit(self.path).query, keep_blank_values=True).get("id", [])
            answer = json.dumps(states(last, asked)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any) -> None:
            """Log nothing: the simulator prints a table."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/jobs"
        finally:
            server.shutdown()
            thread.join()
