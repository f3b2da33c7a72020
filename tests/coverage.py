"""Pause counting coverage: while it counts, Python 3.11 takes nearly twice as long."""

from __future__ import annotations

import os

from coverage import Coverage

#: What makes a new process count, too.
CONFIGURATION = "COVERAGE_PROCESS_CONFIG"
_paused: list[Coverage] = []


def count_coverage(wanted: bool) -> None:
    """Pause counting in this process and those that it starts, or go on; do nothing if none was asked for."""
    if wanted and _paused:
        _paused.pop().start()  # which sets the configuration again
    elif not wanted and (counting := Coverage.current()) is not None:
        counting.stop()
        del os.environ[CONFIGURATION]
        _paused.append(counting)
