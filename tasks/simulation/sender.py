"""A sender as a cluster's would be: its own tokens, kept-alive connections, and no event given up lightly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Lock
from zlib import crc32

import requests

from .faults import Delivery

_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
#: No answer, or half of one.
_UNANSWERED = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_TIMEOUT = 30
_CONNECTIONS = 4


class TokenRejectedError(Exception):
    """The server gives this client no token; the message is its answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one delivery: the status of the answer, or None if none came in time."""

    delivery: Delivery
    status: int | None
    is_duplicate: bool
    attempts: int

    @property
    def is_expected(self) -> bool:
        """Whether the endpoint answered as it is to answer such a delivery."""
        return self.status in self.delivery.expected

    @property
    def answer(self) -> str:
        """The answer in words for a table."""
        if self.status is None:
            return "no answer"
        if self.status == 200:
            return "200 duplicate" if self.is_duplicate else "200 stored"
        return str(self.status)


@dataclass
class Sender:
    """Posts deliveries to the server at ``url`` as the OAuth 2 client given.

    What fails for a reason that may pass (no connection, 408, 429, 5xx) is tried again, after the
    answer's ``Retry-After`` or a pause that doubles, for ``patience`` seconds. Any number of threads may
    share one instance.
    """

    url: str
    client_id: str
    client_secret: str
    patience: float = 60
    sleep: Callable[[float], None] = time.sleep
    _token: str = ""
    _lock: Lock = field(default_factory=Lock)

    def log_in(self, session: requests.Session, *, instead_of: str = "") -> str:
        """Return a token other than ``instead_of``, fetched unless another thread has just done so.

        Raises ``TokenRejectedError``, or ``requests.RequestException`` if the server cannot answer now.
        """
        with self._lock:
            if self._token == instead_of:
                answer = session.post(
                    f"{self.url}/api/v1/login/access-token",
                    data={"grant_type": "client_credentials"},
                    auth=(self.client_id, self.client_secret),
                    timeout=_TIMEOUT,
                )
                if answer.status_code in _RETRIED:
                    raise requests.ConnectionError(f"{answer.status_code} {answer.text[:200]}")
                if answer.status_code != 200:
                    raise TokenRejectedError(f"{answer.status_code} {answer.text[:200]}")
                self._token = answer.json()["access_token"]
            return self._token

    def post(self, session: requests.Session, delivery: Delivery) -> Outcome:
        """Post one delivery until it is answered for good, or until ``patience`` has run out."""
        end = time.monotonic() + self.patience
        pause, attempts, answer = _FIRST_PAUSE, 0, None
        while True:
            attempts += 1
            wait = pause
            try:
                answer = self._try(session, delivery)
            except _UNANSWERED:
                answer = None
            else:
                if answer.status_code not in _RETRIED:
                    break
                wait = _retry_after(answer) or pause
            if time.monotonic() + wait > end:
                break
            self.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE)
        if answer is None:
            return Outcome(delivery, None, is_duplicate=False, attempts=attempts)
        is_duplicate = answer.status_code == 200 and answer.json()["duplicate"]
        return Outcome(delivery, answer.status_code, is_duplicate, attempts)

    def _try(self, session: requests.Session, delivery: Delivery) -> requests.Response:
        token = self.log_in(session)
        answer = self._send(session, delivery, token)
        if answer.status_code == 401:  # it has expired
            answer = self._send(session, delivery, self.log_in(session, instead_of=token))
        return answer

    def _send(self, session: requests.Session, delivery: Delivery, token: str) -> requests.Response:
        return session.post(
            f"{self.url}/api/v1/tasks/webhook",
            data=delivery.body,
            headers={"Authorization": f"Bearer {token}", "Content-Type": delivery.content_type},
            timeout=_TIMEOUT,
        )

    def post_all(self, deliveries: Sequence[Delivery], *, rate: float) -> Iterator[Outcome]:
        """Post ``deliveries``, at most ``rate`` a second, and yield the outcome of each when it is known.

        A task's deliveries share a connection and so keep their order.
        """
        with ExitStack() as stack:
            lanes = []
            for _ in range(_CONNECTIONS):
                session = stack.enter_context(requests.Session())
                lanes.append((session, stack.enter_context(ThreadPoolExecutor(1))))
            futures: list[Future[Outcome]] = []
            try:
                begin, told = time.monotonic(), 0
                for number, delivery in enumerate(deliveries):
                    self.sleep(max(0.0, begin + number / rate - time.monotonic()))
                    session, pool = lanes[crc32(delivery.task_id.encode()) % _CONNECTIONS]
                    futures.append(pool.submit(self.post, session, delivery))
                    while told < len(futures) and futures[told].done():
                        yield futures[told].result()
                        told += 1
                for future in as_completed(futures[told:]):
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()


def _retry_after(answer: requests.Response) -> float:
    """Return the seconds that the answer asks to wait (RFC 9110, section 10.2.3), 0 if it names none."""
    seconds = answer.headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 0.0
