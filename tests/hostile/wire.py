"""Requests as bytes on a socket, for what no HTTP client would send."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

WEBHOOK = b"/api/v1/tasks/webhook"
TOKEN_ENDPOINT = b"/api/v1/login/access-token"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
#: Stands for a valid token, which the site puts in its place.
GOOD = b"@@GOOD-TOKEN@@"


@dataclass(frozen=True)
class Answer:
    """One parsed response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Request:
    """One request with its framing in the open: ``length`` is what is declared, None for nothing."""

    body: bytes = b""
    method: bytes = b"POST"
    path: bytes = WEBHOOK
    version: bytes = b"HTTP/1.1"
    host: bytes = b"Host: localhost\r\n"
    content_type: bytes | None = b"application/json"
    authorization: bytes | None = b"Bearer " + GOOD
    headers: bytes = b""
    length: bytes | int | None = field(default=-1)
    half_close: bool = False

    def raw(self, token: str) -> bytes:
        """Return the bytes to send."""
        lines = [self.method, b" ", self.path, b" ", self.version, b"\r\n", self.host]
        if self.content_type is not None:
            lines += [b"Content-Type: ", self.content_type, b"\r\n"]
        if self.authorization is not None:
            lines += [b"Authorization: ", self.authorization.replace(GOOD, token.encode()), b"\r\n"]
        if self.length is not None:
            length = b"%d" % len(self.body) if self.length == -1 else self.length
            lines += [b"Content-Length: %b\r\n" % (length if isinstance(length, bytes) else b"%d" % length)]
        return b"".join([*lines, self.headers, b"\r\n", self.body])


def chunks(body: bytes, size: int = 0) -> bytes:
    """Return ``body`` in chunks of ``size`` (0: in one)."""
    size = size or max(len(body), 1)
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def connect(port: int, timeout: float = 30) -> socket.socket:
    """Return a connection to ``port``; what takes longer than ``timeout`` seconds fails the test."""
    return socket.create_connection(("127.0.0.1", port), timeout=timeout)


def receive(connection: socket.socket, method: str = "POST") -> Answer:
    """Read one response, passing over ``100 Continue``."""
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    answer = Answer(response.status, headers, response.read())
    response.close()
    return answer


def exchange(port: int, raw: bytes, *, half_close: bool = False, method: str = "POST") -> Answer:
    """Send ``raw`` on a connection of its own and return the first answer."""
    with connect(port) as connection:
        # An early answer may close the connection before all is sent.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        return receive(connection, method)
