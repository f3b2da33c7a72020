"""Methods, paths and headers that are odd: they never cost an event that could be read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.factories import body
from tests.hostile.conftest import Site
from tests.hostile.wire import GOOD, TOKEN_ENDPOINT, WEBHOOK, Request

E = json.dumps(body(task_id="HEADERS")).encode()
POST = Request(E)
FORM = Request(
    path=TOKEN_ENDPOINT, authorization=None, content_type=b"application/x-www-form-urlencoded"
)  # fmt: skip

# Requests whose event is stored.
STORED = {
    **{
        f"accept_{name}": replace(POST, headers=b"Accept: %b\r\n" % value)
        for name, value in {
            "html": b"text/html", "xml": b"application/xml", "nothing": b"", "garbage": b"\x7e;;=,/",
            "image": b"image/*", "q_zero": b"*/*;q=0", "version": b"application/json; version=99",
            "long": b"a/b," * 2000, "latin_1": b"\xe9",
        }.items()
    },
    **{
        f"content_type_{name}": replace(POST, content_type=value)
        for name, value in {
            "absent": None, "empty": b"", "in_capitals": b"APPLICATION/JSON",
            "suffixed": b"application/ld+json",
            "charset": b"application/json; charset=utf-8", "odd_charset": b"application/json; charset=utf-7",
            "unknown_charset": b"application/json; charset=nonsense",
            "nul_charset": b'application/json; charset="\\0"', "boundary": b"application/json; boundary=x",
            "semicolons": b"application/json;;;;", "spaces": b"application/json   ;   a=b",
        }.items()
    },
    "final_slash": replace(POST, path=WEBHOOK + b"/"),
    "query": replace(POST, path=WEBHOOK + b"?format=xml&a=%00&b=%ff"),
    "query_of_10_kb": replace(POST, path=WEBHOOK + b"?" + b"a" * 10_000),
    "absolute_uri": replace(POST, path=b"http://localhost" + WEBHOOK),
    "escaped_path": replace(POST, path=b"/api/v1/tasks/%77ebhook"),
    "header_of_10_kb": replace(POST, headers=b"X-A: " + b"a" * 10_000 + b"\r\n"),
    "50_headers": replace(POST, headers=b"".join(b"X-%d: a\r\n" % n for n in range(50))),
    "same_header_50_times": replace(POST, headers=b"X-A: a\r\n" * 50),
    "header_of_latin_1": replace(POST, headers=b"X-A: \xe9\xff\r\n"),
    "cookies": replace(POST, headers=b"Cookie: sessionid=" + b"x" * 4000 + b"; csrftoken=\xff; ;;=\r\n"),
    "method_override": replace(POST, headers=b"X-HTTP-Method-Override: DELETE\r\n"),
    "forwarded": replace(POST, headers=b"X-Forwarded-For: 1.2.3.4, ::1, \"><script>\r\nForwarded: for=x\r\n"),
    "range": replace(POST, headers=b"Range: bytes=0-0\r\nIf-None-Match: *\r\n"),
    "upgrade": replace(POST, headers=b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"),
    "hop_by_hop": replace(POST, headers=b"Connection: close, authorization, content-length\r\n"),
    "underscores": replace(POST, headers=b"Content_Length: 5\r\nTransfer_Encoding: chunked\r\n"),
    "odd_expectation": replace(POST, headers=b"Expect: the-unexpected\r\n"),
    "foreign_origin": replace(POST, headers=b"Origin: https://evil.example\r\nReferer: x\r\n"),
    "key_of_8_kb": replace(POST, headers=b"Idempotency-Key: " + b"k" * 8000 + b"\r\n"),
    "key_of_latin_1": replace(POST, headers=b"Idempotency-Key: caf\xe9\r\n"),
    "key_empty": replace(POST, headers=b"Idempotency-Key: \r\n"),
    "two_keys": replace(POST, headers=b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n"),
    "bare_line_feeds": replace(POST, headers=b"X-A: a\nX-B: b\n"),
}  # fmt: skip
# Request, then the status bare and behind nginx.
REJECTED = {
    **{
        f"content_type_{name}": (replace(POST, content_type=value), 415, 415)
        for name, value in {
            "text": b"text/plain", "html": b"text/html", "form": b"application/x-www-form-urlencoded",
            "multipart": b"multipart/form-data; boundary=x",
            "multipart_without_boundary": b"multipart/form-data",
            "xml": b"application/xml", "almost": b"application/jsonp", "seq": b"application/json-seq",
            "two": b"application/json, text/plain", "garbage": b"\x7e/\x7e", "text_json": b"text/json",
            "8_kb": b"a/" + b"a" * 8000,
        }.items()
    },
    **{
        f"method_{method.decode()}": (replace(POST, method=method), 405, 405)
        for method in (b"GET", b"PUT", b"PATCH", b"DELETE", b"FOO", b"PROPFIND", b"MOVE", b"QUERY")
    },
    "method_HEAD": (replace(POST, method=b"HEAD", body=b""), 405, 405),
    "method_TRACE": (replace(POST, method=b"TRACE", body=b"", length=None), 405, 405),
    "method_CONNECT": (
        replace(POST, method=b"CONNECT", path=b"localhost:443", body=b"", length=None), 405, 400
    ),
    "no_host": (replace(POST, host=b""), 400, 400),
    "two_hosts": (replace(POST, headers=b"Host: evil.example\r\n"), 400, 400),
    "another_host": (replace(POST, host=b"Host: evil.example\r\n"), 400, 400),
    "host_of_garbage": (replace(POST, host=b"Host: a b/c\r\n"), 400, 400),
    "path_with_nul": (replace(POST, path=WEBHOOK + b"%00"), 404, 400),
    "path_of_bad_utf_8": (replace(POST, path=WEBHOOK + b"%ff"), 404, 404),
    "path_upwards": (replace(POST, path=b"/api/v1/tasks/../../../etc/passwd"), 404, 404),
    "static_upwards": (replace(POST, method=b"GET", path=b"/static/..%2f..%2fmanage.py", body=b""), 404, 400),
    "uri_of_70_kb": (replace(POST, path=WEBHOOK + b"?" + b"a" * 70_000), 414, 414),
    "header_of_a_megabyte": (replace(POST, headers=b"X-A: " + b"a" * 1_000_000 + b"\r\n"), 431, 400),
    "folded_header": (replace(POST, headers=b"X-A: a\r\n b\r\n"), 400, 400),
    "header_with_nul": (replace(POST, headers=b"X-A: a\0b\r\n"), 400, 400),
    "header_without_a_colon": (replace(POST, headers=b"nonsense\r\n"), 400, 200),
    "header_without_a_name": (replace(POST, headers=b": a\r\n"), 400, 400),
    "no_token": (replace(POST, authorization=None), 401, 401),
    "empty_authorization": (replace(POST, authorization=b""), 401, 401),
    "empty_token": (replace(POST, authorization=b"Bearer "), 401, 401),
    "unknown_token": (replace(POST, authorization=b"Bearer no"), 401, 401),
    "token_cut": (replace(POST, authorization=b"Bearer " + GOOD + b"x"), 401, 401),
    "token_twice": (replace(POST, authorization=b"Bearer " + GOOD + b" " + GOOD), 401, 401),
    "two_authorizations": (replace(POST, headers=b"Authorization: Bearer no\r\n"), 401, 400),
    "token_of_8_kb": (replace(POST, authorization=b"Bearer " + b"a" * 8000), 401, 401),
    "token_of_latin_1": (replace(POST, authorization=b"Bearer caf\xe9"), 401, 401),
    "token_of_sql": (replace(POST, authorization=b"Bearer ' OR 1=1 --"), 401, 401),
    "token_wildcard": (replace(POST, authorization=b"Bearer %"), 401, 401),
    "token_in_quotes": (replace(POST, authorization=b'Bearer "' + GOOD + b'"'), 401, 401),
    "token_by_another_scheme": (replace(POST, authorization=b"Basic " + GOOD), 401, 401),
    "token_without_a_scheme": (replace(POST, authorization=GOOD), 401, 401),
    "token_in_the_query": (
        replace(POST, authorization=None, path=WEBHOOK + b"?access_token=" + GOOD), 401, 401
    ),
    "form_nothing": (FORM, 400, 400),
    "form_nul": (replace(FORM, body=b"username=a%00b&password=b%00"), 400, 400),
    "form_bad_utf_8": (replace(FORM, body=b"username=%ff&password=%ff"), 400, 400),
    "form_sql": (replace(FORM, body=b"username='%20OR%201=1--&password=x"), 400, 400),
    "form_odd_charset": (replace(FORM, content_type=FORM.content_type + b"; charset=utf-7"), 400, 400),
    "form_5000_fields": (replace(FORM, body=b"&".join(b"a%d=1" % n for n in range(5000))), 400, 400),
    "form_multipart_garbage": (replace(FORM, content_type=b"multipart/form-data", body=b"abc"), 400, 400),
    "form_json": (replace(FORM, content_type=b"application/json", body=b'{"username":"a"}'), 400, 400),
    "form_client_nul": (
        replace(FORM, authorization=b"Basic YQBiOmIA", body=b"grant_type=client_credentials"),
        (400, 401), (400, 401),
    ),
    "form_client_garbage": (
        replace(FORM, authorization=b"Basic !!!!", body=b"grant_type=client_credentials"), 401, 401
    ),
}  # fmt: skip


SAID_BY_NGINX = ("header_of_a_megabyte", "no_host", "two_authorizations", "header_without_a_name")


@pytest.mark.parametrize("name", STORED)
def test_event_is_kept(site: Site, name: str) -> None:
    before = site.event_count()
    task_id = f"{name}-{site.front}"
    request = STORED[name]

    answer = site.send(replace(request, body=request.body.replace(b"HEADERS", task_id.encode())))

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert (answer.json()["task_id"], answer.json()["duplicate"]) == (task_id, False)
    site.assert_well(events=before + 1)


@pytest.mark.parametrize("name", REJECTED)
def test_request_is_rejected(site: Site, name: str) -> None:
    before = site.event_count()
    request, bare, behind_nginx = REJECTED[name]
    expected = bare if site.front == "bare" else behind_nginx

    answer = site.send(request)

    assert answer.status in (expected if isinstance(expected, tuple) else (expected,))
    if answer.status == 400 and name in SAID_BY_NGINX and site.front == "nginx":
        assert answer.json() == {"detail": "The request is not valid HTTP."}
    if answer.status in (401, 405, 415) and request.path.startswith(WEBHOOK) and request.method != b"HEAD":
        assert set(answer.json()) == {"detail"}
    if answer.status == 401 and request.path.startswith(WEBHOOK):
        assert answer.headers["www-authenticate"].startswith("Bearer")
    site.assert_well(events=before + (1 if answer.status == 200 else 0))


@pytest.mark.parametrize("key", ["caf\xe9".encode("latin-1"), "caf\xe9".encode(), "\u2603".encode()])
def test_a_key_that_is_not_ascii_is_not_seen(site: Site, key: bytes) -> None:
    """The server that speaks HTTP leaves it out; docs/contract.md says so."""
    event = E.replace(b"HEADERS", b"key-%b-%b" % (key.hex().encode(), site.front.encode()))
    answers = [
        site.send(replace(POST, body=event, headers=b"Idempotency-Key: %b%d\r\n" % (key, number)))
        for number in (1, 2)
    ]

    assert [answer.json()["duplicate"] for answer in answers] == [False, True]


def test_options_says_what_is_taken(site: Site) -> None:
    before = site.event_count()

    answer = site.send(replace(POST, method=b"OPTIONS", body=b""))

    assert (answer.status, answer.headers["allow"]) == (200, "POST, OPTIONS")
    site.assert_well(events=before)


def test_proxy_tells_the_app_nothing_that_a_client_said(proxied: Site) -> None:
    before = proxied.event_count()

    answer = proxied.send(
        replace(POST, body=E.replace(b"HEADERS", b"told"), headers=b"X-Forwarded-Host: evil.example\r\n")
    )

    assert answer.status == 200
    proxied.assert_well(events=before + 1)
