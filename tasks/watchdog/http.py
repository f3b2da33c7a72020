"""The built-in probe: ask a status API over HTTP.

It sends ``GET PROBE_URL?id=…&id=…`` and takes a list of JSON objects: ``id``, ``state`` (``running``,
``queued``, ``missing`` or another) and for another state ``last_update``, a body as the webhook takes it.
"""

from __future__ import annotations

import json
import reprlib
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..conf import app_settings
from ..models import Task
from .answers import Alive, Answer, Gone, ProbeFailed, Report

#: Characters of the ids in one address; servers take about 8,000 in all.
MAX_QUERY = 4000
MAX_ANSWER_BYTES = 16 * 1024 * 1024


def ask_over_http(tasks: Sequence[Task]) -> Iterator[Answer]:
    """Yield what the status API at ``PROBE_URL`` says about ``tasks``.

    Entries without an id are named at the end, after those that count.
    """
    odd = []
    for query in _queries([task.pk for task in tasks]):
        for item in _get(query):
            if not isinstance(item, dict) or not isinstance(item.get("id"), str):
                odd.append(item)
            elif answer := _answer(item):
                yield answer
    if odd:
        entry = reprlib.repr(odd[0])
        raise ProbeFailed(
            f"The cluster's answer has {entry} instead of an object with an id ({len(odd)} in all)."
        )


def _queries(task_ids: Sequence[str]) -> Iterator[str]:
    """Yield query strings that together ask for every id, each short enough for an address."""
    query = ""
    for task_id in task_ids:
        one = urlencode({"id": task_id})
        if query and len(query) + len(one) >= MAX_QUERY:
            yield query
            query = ""
        query = f"{query}&{one}" if query else one
    yield query


def _answer(item: dict[str, Any]) -> Answer | None:
    state, body = item.get("state"), item.get("last_update")
    if state in ("running", "queued"):
        return Alive(item["id"])
    if state == "missing":
        return Gone(item["id"])
    return Report(item["id"], body) if isinstance(body, dict) else None


class _NoRedirect(HTTPRedirectHandler):
    """Follow no redirect: it would carry the token to another address."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_opener = build_opener(_NoRedirect)


def _get(query: str) -> list[Any]:
    settings = app_settings()
    url = f"{settings.probe_url}{'&' if '?' in str(settings.probe_url) else '?'}{query}"
    headers = {"Accept": "application/json", "User-Agent": "sartiq-tasks"}
    if settings.probe_token is not None:
        headers["Authorization"] = f"Bearer {settings.probe_token}"
    timeout = settings.probe_timeout.total_seconds()
    try:
        with _opener.open(Request(url, headers=headers), timeout=timeout) as response:  # noqa: S310 (checked: http or https)
            answer = json.loads(_read(response, time.monotonic() + timeout))
    except HTTPError as error:
        error.close()
        raise ProbeFailed(f"The cluster answered {error.code} {error.reason}.") from error
    except URLError as error:
        raise ProbeFailed(f"The cluster cannot be reached: {error.reason}.") from error
    except (OSError, HTTPException) as error:
        raise ProbeFailed(f"The connection to the cluster broke: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise ProbeFailed(f"The cluster's answer is not JSON: {error}.") from error
    if not isinstance(answer, list):
        raise ProbeFailed("The cluster's answer is not a list.")
    return answer


def _read(response: Any, until: float) -> bytes:
    """Return the body. The socket's timeout alone would let a slow answer take forever."""
    parts, size = [], 0
    while part := response.read1(65536):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise ProbeFailed(f"The cluster's answer is longer than {MAX_ANSWER_BYTES} bytes.")
        if time.monotonic() > until:
            raise ProbeFailed("The cluster's answer took too long.")
    return b"".join(parts)
