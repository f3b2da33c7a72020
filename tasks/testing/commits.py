"""Call what waits for a commit, in a test whose transaction never commits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

logger = logging.getLogger("sartiq_tasks.recording")


@contextmanager
def as_if_committed() -> Iterator[None]:
    """Call at the end of the block what it handed to ``transaction.on_commit()``, as commits would have done.

    Unlike ``captureOnCommitCallbacks()``, take them from the connection, so that nothing calls them again.
    """
    waiting: list[tuple[Any, int]] = [(one, len(one.run_on_commit)) for one in connections.all()]
    try:
        yield
    finally:  # a rollback has taken its own callbacks away already
        for connection, before in waiting:
            while len(connection.run_on_commit) > before:
                _, callback, robust = connection.run_on_commit.pop(before)
                _call(callback, robust)


def _call(callback: Callable[[], object], robust: bool) -> None:
    try:
        callback()
    except Exception:
        if not robust:
            raise
        logger.exception("A callback of on_commit() raised: %r", callback)
