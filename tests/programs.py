"""Programs that no wheel brings."""

from __future__ import annotations

import os
import shutil

import pytest

#: Debian keeps some of them where only root looks.
PATH = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"


def needed(name: str, *, package: str) -> str:
    """Return the path of a program; without it skip the test, or fail in CI, where .ci/run installs it."""
    if found := shutil.which(name, path=PATH):
        return found
    missing = f"{name} is not installed (Debian: apt-get install {package})"
    if "CI" in os.environ:
        pytest.fail(missing)
    pytest.skip(missing)
