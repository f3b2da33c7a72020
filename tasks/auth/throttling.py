"""Limit requests by the settings ``THROTTLE_...``, counted by DRF's throttle in one of Django's caches.

The cache is not locked between reading and writing, so concurrent requests may slip through a limit;
and each process has its own local-memory cache. Both make a limit more generous, never stricter. If the
cache fails, every request is let through, so that no event is lost.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from django.core.cache import caches
from django.http import HttpRequest
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from ..conf import app_settings
from .authentication import source_of

logger = logging.getLogger("sartiq_tasks.throttling")

_NO_VIEW: Any = None


def count_delivery(request: Request) -> None:
    """Count a delivery of the request's token or signer; raise ``Throttled`` beyond the limit."""
    if rate := app_settings().throttle_deliveries:
        # A primary key alone would not do: each tenant's schema may have a token with that key.
        token = getattr(request.auth, "token_checksum", None) or getattr(request.auth, "pk", None)
        _count(request, "delivery", rate, f"{type(request.auth).__name__} {token or source_of(request)}")


def count_failure(request: Request) -> None:
    """Count a failed authentication against the client's address; raise ``Throttled`` beyond the limit.

    Valid credentials are never counted, so one worker's stale token stops no other behind the same address.
    """
    if rate := app_settings().throttle_failures:
        _count(request, "failure", rate)


def count_token_request(request: HttpRequest) -> None:
    """Count a request for a token against its address; raise ``Throttled`` beyond the limit."""
    if rate := app_settings().throttle_token_requests:
        _count(request, "token request", rate)


def _count(request: Any, kind: str, rate: str, who: str | None = None) -> None:
    throttle = _Throttle(kind, rate, who)
    try:
        allowed = throttle.allow_request(request, _NO_VIEW)
    except Exception:
        logger.exception(
            "The cache of the throttles failed, so nothing is throttled: cache=%r counted=%r",
            app_settings().throttle_cache,
            kind,
        )
        return
    if not allowed:
        raise Throttled(throttle.wait())


class _Throttle(SimpleRateThrottle):
    #: The parts of the rate: the number of requests, and the seconds in which they may come.
    num_requests: int
    duration: int

    def __init__(self, kind: str, rate: str, who: str | None) -> None:
        self.kind, self.rate, self.who = kind, rate, who
        self.cache = caches[app_settings().throttle_cache]
        super().__init__()

    def get_cache_key(self, request: Any, view: Any) -> str:
        """Return the key of the sender, or of the address as ``NUM_PROXIES`` tells it."""
        who = self.who or self.get_ident(request)
        return f"sartiq_tasks.{hashlib.sha256(f'{self.kind} {who}'.encode()).hexdigest()}"

    def throttle_failure(self) -> bool:
        """Return whether the request is allowed all the same: a clock that was ahead did the counting."""
        if self.history[0] <= self.now + self.duration:
            return bool(super().throttle_failure())
        self.history = []
        return bool(self.throttle_success())

    def wait(self) -> float:
        """Return the seconds until a request is allowed.

        DRF does not know them if it has counted more requests than the limit allows, as after it was lowered.
        """
        counted: float = self.history[self.num_requests - 1]
        return counted + self.duration - self.now
