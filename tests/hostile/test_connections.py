"""Connections that are cut, slow or full of nonsense: others are served meanwhile."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import ExitStack

import pytest

from tests.factories import body
from tests.hostile.conftest import Site
from tests.hostile.wire import CHUNKED, GOOD, Request, connect, exchange, receive

E = json.dumps(body(task_id="connections")).encode()
NONSENSE = {
    "binary": b"\x00\x01\x02\x03\r\n\r\n",
    "tls_hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100,
    "no_version": b"POST /api/v1/tasks/webhook FOO\r\n\r\n",
    "http_3_0": b"POST /api/v1/tasks/webhook HTTP/3.0\r\nHost: localhost\r\n\r\n",
    "space_in_the_path": b"POST /api/v1/tasks/ webhook HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
    "smtp": b"EHLO localhost\r\nMAIL FROM:<a@example.org>\r\n\r\n",
}
CUT_AFTER = {"the_method": 6, "half_the_headers": 60, "half_the_body": -20, "one_byte_less": -1}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense(site: Site, name: str) -> None:
    before = site.event_count()

    assert exchange(site.port, NONSENSE[name]).status in ((400, 505) if name == "http_3_0" else (400,))

    site.assert_well(events=before)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("name", CUT_AFTER)
def test_cut(site: Site, name: str, reset: bool) -> None:
    before = site.event_count()
    raw = Request(E).raw(site.token)

    with connect(site.port) as connection:
        connection.sendall(raw[: CUT_AFTER[name]])
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    site.assert_well(events=before)


def test_cut_in_a_chunk(site: Site) -> None:
    before = site.event_count()

    with connect(site.port) as connection:
        connection.sendall(Request(b"ff\r\n" + E[:-5], headers=CHUNKED, length=None).raw(site.token))

    site.assert_well(events=before)


def test_cut_before_the_answer_stores_once(site: Site) -> None:
    before = site.event_count()
    raw = Request(E.replace(b"connections", f"unheard-{site.front}".encode())).raw(site.token)
    with connect(site.port) as connection:
        connection.sendall(raw)

    # The sender does not know, and sends it again.
    answer = exchange(site.port, raw)

    assert answer.status == 200
    site.assert_well(events=before + 1)


def test_byte_by_byte(site: Site) -> None:
    before = site.event_count()
    raw = Request(E.replace(b"connections", f"bytes-{site.front}".encode())).raw(site.token)

    with connect(site.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in raw:
            connection.sendall(bytes([byte]))
        assert receive(connection).status == 200

    site.assert_well(events=before + 1)


def test_pipelined(site: Site) -> None:
    before = site.event_count()
    raws = [
        Request(E.replace(b"connections", f"pipe-{site.front}-{n}".encode())).raw(site.token)
        for n in range(3)
    ]

    with connect(site.port) as connection:
        stream = connection.makefile("rb")
        connection.sendall(b"".join(raws))
        answers = b""
        while answers.count(b'"duplicate":false') < 3:
            line = stream.read1(65536)
            assert line, answers
            answers += line

    assert answers.count(b"HTTP/1.1 200") == 3
    site.assert_well(events=before + 3)


def test_slow_headers_hold_nobody_up(site: Site) -> None:
    before = site.event_count()

    with ExitStack() as stack:
        slow = [stack.enter_context(connect(site.port)) for _ in range(40)]
        for connection in slow:
            connection.sendall(b"POST /api/v1/tasks/webhook HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        site.assert_well(events=before)


@pytest.mark.parametrize("authorization", [b"Bearer " + GOOD, b"Bearer no"], ids=["sender", "stranger"])
def test_slow_bodies_hold_nobody_up_behind_the_proxy(proxied: Site, authorization: bytes) -> None:
    before = proxied.event_count()

    with ExitStack() as stack:
        slow = [stack.enter_context(connect(proxied.port)) for _ in range(40)]
        for connection in slow:
            connection.sendall(Request(b"{", length=500, authorization=authorization).raw(proxied.token))
        proxied.assert_well(events=before)


def test_the_slow_are_sent_away(site: Site) -> None:
    before = site.event_count()
    with connect(site.port) as headers:
        headers.sendall(b"POST /api/v1/tasks/webhook HTTP/1.1\r\nHost: localhost\r\n")
        ended = headers.recv(65536)
    assert ended == b"" or b" 408 " in ended.partition(b"\r\n")[0]
    site.assert_well(events=before)


def test_a_body_that_stops_is_cut_off_behind_the_proxy(proxied: Site) -> None:
    before = proxied.event_count()
    with connect(proxied.port) as connection:
        connection.sendall(Request(E, length=len(E) + 1).raw(proxied.token))
        assert connection.recv(65536) == b""
    proxied.assert_well(events=before)
