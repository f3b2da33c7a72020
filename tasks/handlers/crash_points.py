"""The points at which tests stop a worker, as if it had died there."""

from __future__ import annotations

from collections.abc import Callable

#: After the claim; after the handler returned; after the mark, before the commit; after the commit; while a
#: failure is written.
CRASH_POINTS = ("claimed", "effect", "marked", "committed", "failing")

#: A test puts a function here, which is called at each point.
hook: Callable[[str], None] | None = None


def reach(point: str) -> None:
    """Tell the test, if there is one, that a worker is at ``point``."""
    if hook is not None:
        hook(point)
