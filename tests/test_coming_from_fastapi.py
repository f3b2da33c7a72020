"""docs/coming-from-fastapi.md: the mirror, by a real nginx before an old endpoint and this one."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from django.db import connection

from tests.factories import body
from tests.programs import needed
from tests.servers import free_port, serving, stop, temporary_directory, wait_for_port

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "coming-from-fastapi.md").read_text()
(LOCATIONS,) = re.findall(r"```nginx\n(.*?)```", PAGE, flags=re.DOTALL)
CONFIGURATION = """
daemon off; worker_processes 1; pid {here}/nginx.pid; error_log {here}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
    upstream old {{ server 127.0.0.1:{old}; }}
    upstream new {{ server {new}; }}
    server {{ listen 127.0.0.1:{port}; {locations} }}
}}
"""


class _Old(BaseHTTPRequestHandler):
    """The endpoint that is replaced: it has tokens of its own, and answers in its own way."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status = 200 if self.headers["Authorization"] == "Bearer of-the-old-one" else 401
        self.send_response(status)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"old")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def old() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Old)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def _events(database_url: str) -> list[tuple[str, int]]:
    """Return the events as soon as there is one: the copy may take a moment longer than the answer."""
    for _ in range(100):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as ledger:
            query = "SELECT task_id, deliveries FROM sartiq_tasks_taskstatusevent"
            if found := ledger.execute(query).fetchall():
                return found
        time.sleep(0.05)
    return []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="nginx does not know the database")
@pytest.mark.django_db
def test_the_old_one_answers_and_the_new_one_gets_a_copy(old: int, own_database: str) -> None:
    program = needed("nginx", package="nginx-light")
    port = free_port()
    with serving(own_database, WORKERS="1") as server, temporary_directory() as here:
        configuration = CONFIGURATION.format(
            here=here,
            old=old,
            new=server.url.removeprefix("http://"),
            port=port,
            locations=LOCATIONS.replace("TOKEN", server.token).replace("tasks.example.org", "localhost"),
        )
        (here / "nginx.conf").write_text(configuration)
        process = psutil.Popen([program, "-e", str(here / "error.log"), "-c", str(here / "nginx.conf")])
        try:
            wait_for_port(port, process)
            headers = {"Authorization": "Bearer of-the-old-one"}
            url = f"http://127.0.0.1:{port}/api/v1/tasks/webhook"
            answer = requests.post(url, json=body(), headers=headers, timeout=30)
            events = _events(own_database)
        finally:
            stop(process)

    assert (answer.status_code, answer.text) == (200, "old")
    assert events == [("task-1", 1)]
