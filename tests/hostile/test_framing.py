"""Where a body begins and ends, told wrongly: nothing is stored that was not sent whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.factories import body
from tests.hostile.conftest import Site
from tests.hostile.wire import CHUNKED, TOKEN_ENDPOINT, Request, chunks, connect, receive

MIB = 1024 * 1024


def event(task_id: str) -> bytes:
    return json.dumps(body(task_id=task_id)).encode()


E = event("framing")
GOOD = Request(E)
CHUNKS = Request(chunks(E), headers=CHUNKED, length=None)
TOO_LARGE = b'{"a":"' + b"x" * (100 * MIB)

#: Each makes of an event a request that is odd, and whole.
STORED: dict[str, Callable[[bytes], Request]] = {
    "chunked": lambda event: replace(CHUNKS, body=chunks(event)),
    "chunked_by_the_byte": lambda event: replace(CHUNKS, body=chunks(event, 1)),
    "chunked_with_an_extension": lambda event: replace(
        CHUNKS, body=b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(event), event)
    ),
    "chunked_with_a_trailer": lambda event: replace(
        CHUNKS, body=chunks(event)[:-2] + b"X-Trailer: a\r\n\r\n"
    ),
    "chunked_in_capitals": lambda event: replace(
        CHUNKS, body=chunks(event), headers=b"TRANSFER-ENCODING: CHUNKED\r\n"
    ),
    "http_1_0": lambda event: replace(GOOD, body=event, version=b"HTTP/1.0"),
    "padded_to_the_limit": lambda event: replace(GOOD, body=event.ljust(MIB)),
    "chunked_to_the_limit": lambda event: replace(CHUNKS, body=chunks(event.ljust(MIB), 65536)),
    "continue_expected": lambda event: replace(GOOD, body=event, headers=b"Expect: 100-continue\r\n"),
}
#: Each request, then the status bare and behind nginx.
REJECTED = {
    "both_framings_length_first": (replace(CHUNKS, length=5), 200, 400),
    "both_framings_length_last": (replace(CHUNKS, headers=CHUNKED + b"Content-Length: 5\r\n"), 200, 400),
    "both_framings_length_right": (replace(CHUNKS, length=len(CHUNKS.body)), 200, 400),
    "two_lengths": (replace(GOOD, headers=b"Content-Length: 5\r\n"), 400, 400),
    "negative_length": (replace(GOOD, length=b"-5"), 400, 400),
    "length_with_a_plus": (replace(GOOD, length=b"+%d" % len(E)), 400, 400),
    "hexadecimal_length": (replace(GOOD, length=b"0x4b"), 400, 400),
    "length_in_words": (replace(GOOD, length=b"ten"), 400, 400),
    "empty_length": (replace(GOOD, length=b""), 400, 400),
    "length_of_30_digits": (replace(GOOD, length=b"9" * 30), 400, 400),
    "length_of_5000_digits": (replace(GOOD, length=b"9" * 5000), 400, 400),
    "list_of_lengths": (replace(GOOD, length=b"5, 5"), 400, 400),
    "no_length": (replace(GOOD, length=None, body=b""), 422, 422),
    "length_zero": (replace(GOOD, body=b""), 422, 422),
    "body_longer_than_declared": (replace(GOOD, length=10), 422, 422),
    "length_of_100_mb_and_no_body": (replace(GOOD, length=100 * MIB), 413, 413),
    "one_byte_over": (replace(GOOD, body=E + b" " * (MIB - len(E) + 1)), 413, 413),
    "100_mb": (Request(TOO_LARGE), 413, 413),
    "100_mb_chunked": (replace(CHUNKS, body=chunks(TOO_LARGE, MIB)), 413, 413),
    "100_mb_without_a_token": (Request(TOO_LARGE, authorization=None), 401, 413),
    "1_mb_without_a_token": (Request(b"x" * MIB, authorization=None), 401, 401),
    "1_mb_with_a_bad_token": (Request(b"x" * MIB, authorization=b"Bearer no"), 401, 401),
    "1_mb_of_another_type": (Request(b"x" * MIB, content_type=b"text/csv"), 415, 415),
    "100_kb_without_a_token": (Request(b"x" * 100_000, authorization=None), 401, 401),
    "gzip_then_chunked": (replace(CHUNKS, headers=b"Transfer-Encoding: gzip, chunked\r\n"), 411, 411),
    "chunked_twice": (replace(CHUNKS, headers=CHUNKED * 2), 411, 400),
    "identity": (replace(CHUNKS, headers=b"Transfer-Encoding: identity\r\n"), 400, 411),
    "xchunked": (replace(CHUNKS, headers=b"Transfer-Encoding: xchunked\r\n"), 400, 411),
    "chunked_with_a_space_before_the_colon": (
        replace(CHUNKS, headers=b"Transfer-Encoding : chunked\r\n"), 400, 400
    ),
    "chunked_in_http_1_0": (replace(CHUNKS, version=b"HTTP/1.0"), 400, 400),
    "chunk_size_is_no_number": (replace(CHUNKS, body=b"zz\r\n" + E), 422, 400),
    "chunk_size_overflows": (replace(CHUNKS, body=b"f" * 18 + b"\r\n" + E), 422, 400),
    "chunk_size_is_negative": (replace(CHUNKS, body=b"-4b\r\n" + E), 422, 400),
    "token_form_without_a_length": (
        Request(
            chunks(b"username=a&password=b"), path=TOKEN_ENDPOINT, headers=CHUNKED, length=None,
            authorization=None, content_type=b"application/x-www-form-urlencoded",
        ), 400, 400,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STORED)
def test_odd_but_whole(site: Site, name: str) -> None:
    before = site.event_count()
    task_id = f"{name}-{site.front}"

    answer = site.send(STORED[name](event(task_id)))

    assert (answer.status, answer.json()["task_id"], answer.json()["duplicate"]) == (200, task_id, False)
    site.assert_well(events=before + 1)


@pytest.mark.parametrize("name", REJECTED)
def test_wrong_frame(site: Site, name: str) -> None:
    before = site.event_count()
    framed, bare, behind_nginx = REJECTED[name]

    answer = site.send(framed)

    assert answer.status == (bare if site.front == "bare" else behind_nginx)
    if site.front == "nginx":
        assert answer.headers["content-type"] == "application/json"
    if answer.status in (401, 411, 413, 415):
        assert set(answer.json()) == {"detail"}
    # The requests that are accepted have one event between them.
    stored = int(answer.status == 200 and not answer.json()["duplicate"])
    if "both_framings" in name:
        # RFC 9112, section 6.1: whoever takes it by its chunks closes the connection, so nothing is smuggled.
        assert answer.headers["connection"] == "close"
    site.assert_well(events=before + stored)


def test_shorter_than_declared(site: Site) -> None:
    before = site.event_count()

    cut = replace(GOOD, body=event("short"), length=len(event("short")) + 10, half_close=True)
    if site.front == "bare":
        answer = site.send(cut)
        assert (answer.status, set(answer.json())) == (400, {"detail"})
    else:
        with connect(site.port) as connection:
            connection.sendall(cut.raw(site.token))
    site.assert_well(events=before)


def test_smuggled_request_is_never_answered(site: Site) -> None:
    before = site.event_count()
    hidden = Request(event("smuggled")).raw(site.token)
    outer = Request(b"0\r\n\r\n" + hidden, headers=CHUNKED, length=5 + len(hidden))

    with connect(site.port) as connection:
        connection.sendall(outer.raw(site.token))
        first = receive(connection)
        rest = connection.recv(65536)

    assert first.status == (422 if site.front == "bare" else 400)
    assert rest == b""
    site.assert_well(events=before)


def test_early_answers_keep_the_next_request_well(site: Site) -> None:
    before = site.event_count()
    rejected = [replace(GOOD, body=b"x" * size, authorization=None) for size in (1, 20_000, 300_000, MIB)]

    statuses = [site.send(request).status for request in rejected * 25]

    assert statuses == [401] * 100
    site.assert_well(events=before)
