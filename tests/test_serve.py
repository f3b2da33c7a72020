"""How the server is run: what ``scripts/serve`` asks of the machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.servers import serving

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("chrt") is None, reason="a policy of Linux, set by util-linux"
)


@pytest.mark.parametrize("allowed", [True, False])
def test_workers_do_not_interrupt_each_other_where_the_kernel_lets_them(
    tmp_path: Path, allowed: bool
) -> None:
    if not allowed:
        forbidden = tmp_path / "chrt"
        forbidden.write_text("#!/bin/sh\nexit 1\n")
        forbidden.chmod(0o755)
    with serving(f"sqlite:///{tmp_path}/db.sqlite3", PATH=f"{tmp_path}:{os.environ['PATH']}") as server:
        policies = {os.sched_getscheduler(process.pid) for process in [server.process, *server.workers()]}

    assert policies == {os.SCHED_BATCH if allowed else os.SCHED_OTHER}
