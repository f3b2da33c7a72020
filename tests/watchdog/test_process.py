"""A real ``run_handlers``, beside a status API that takes every question and never answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.handlers.processes import query, record, wait_until, working
from tests.servers import copy_migrated_sqlite

LIMIT = timedelta(seconds=5)
NOTICED = """
SELECT last_received_at, noticed_at FROM sartiq_tasks_silence JOIN sartiq_tasks_task USING (task_id)
"""


@pytest.fixture
def status_api() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


def test_a_silence_is_found_within_its_limit_and_a_minute_though_the_cluster_hangs(
    own_database: str, status_api: socket.socket
) -> None:
    host, port = status_api.getsockname()
    copy_migrated_sqlite(own_database)
    record(own_database, {"task_id": "first"})
    with working(
        own_database,
        SILENT_AFTER=str(LIMIT.total_seconds()),
        PROBE_URL=f"http://{host}:{port}/jobs",
        PROBE_TIMEOUT="3600",
    ):
        asked, _ = status_api.accept()
        record(own_database, {"task_id": "task-second"})
        while len(noticed := query(own_database, NOTICED)) < 2:
            time.sleep(0.1)
        # A worker's handler has run meanwhile.
        wait_until(own_database, lambda found: found["states"] == {"done": 2})
        asked.close()

    for heard_at, noticed_at in noticed:
        late = datetime.fromisoformat(str(noticed_at)) - datetime.fromisoformat(str(heard_at)) - LIMIT
        assert late < timedelta(seconds=60)
