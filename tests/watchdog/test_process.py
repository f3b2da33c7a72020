"""A real ``run_handlers``, and a status API that takes every question and never answers."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.handlers.processes import record, run_python, wait_until, working
from tests.servers import copy_migrated_sqlite

LIMIT = timedelta(seconds=5)
NOTICED = """
import json
from tasks.models import Silence
rows = Silence.objects.select_related("task")
print(json.dumps({one.pk: [str(one.task.last_received_at), str(one.noticed_at)] for one in rows}))
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
        while len(noticed := json.loads(run_python(NOTICED, own_database))) < 2:
            time.sleep(1)
        # A worker's handler has run meanwhile.
        wait_until(own_database, lambda found: found["states"] == {"done": 2})
        asked.close()

    for heard_at, noticed_at in noticed.values():
        late = datetime.fromisoformat(noticed_at) - datetime.fromisoformat(heard_at) - LIMIT
        assert late < timedelta(seconds=60)
