"""Old events deleted by rows, as ``prune_task_events`` does, and by dropping a partition.

A partitioned table can keep ``(task_id, idempotency_key)`` unique only within a partition. So that an event
stays one whenever it is delivered again, the key is in a table of its own here, whose rows are deleted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any

import psycopg

from harness.environment import project_environment

from .postgresql import PostgreSQL, postgresql
from .profile import body
from .size import fill

EVENT, KEY = "sartiq_tasks_taskstatusevent", "sartiq_tasks_key"
#: Deliveries a second meanwhile, and the connections that make them.
RATE, WRITERS = 100, 2
#: Bytes, as docs/scaling.md says.
WAL_OF_A_DELIVERY = 3000
PARTITION = f"""
ALTER TABLE {EVENT} RENAME TO plain;
CREATE TABLE {EVENT} (LIKE plain INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING IDENTITY)
    PARTITION BY RANGE (received_at);
CREATE TABLE old PARTITION OF {EVENT} FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE new PARTITION OF {EVENT} FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
ALTER TABLE {EVENT} ADD PRIMARY KEY (task_id, id, received_at);
CREATE INDEX ON {EVENT} (id);
CREATE INDEX ON {EVENT} (status, id);
CREATE INDEX ON {EVENT} (event_type, id);
CREATE INDEX ON {EVENT} (task_type, id);
CREATE INDEX ON {EVENT} (error_category, id) WHERE error_category IS NOT NULL;
CREATE TABLE {KEY} (
    task_id varchar(255) COLLATE "C", idempotency_key bytea, payload_digest bytea NOT NULL,
    deliveries integer NOT NULL, received_at timestamptz NOT NULL, PRIMARY KEY (task_id, idempotency_key)
);
CREATE INDEX ON {KEY} USING brin (received_at) WITH (autosummarize = on);
INSERT INTO {EVENT} OVERRIDING SYSTEM VALUE SELECT * FROM plain;
INSERT INTO {KEY} SELECT task_id, idempotency_key, payload_digest, 1, received_at FROM plain;
DROP TABLE plain;
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.retention", description=__doc__)
    parser.add_argument(
        "--events", type=int, default=2_000_000, help="old events; a quarter of them is newer"
    )
    given = parser.parse_args()
    with postgresql() as database:
        os.environ |= project_environment(database.url("postgres"))
        os.environ["DJANGO_SETTINGS_MODULE"] = "sartiq_tasks.settings"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        print("| | rows | partition |\n|---|---|---|")
        told = [measure(database, given.events, is_partitioned=one) for one in (False, True)]
    for line in told[0]:
        print(f"| {line} | {told[0][line]} | {told[1][line]} |")


def measure(database: PostgreSQL, events: int, *, is_partitioned: bool) -> dict[str, str]:
    tables = (EVENT, KEY) if is_partitioned else (EVENT,)
    database.query(f"TRUNCATE {EVENT}")
    fill(database, "postgres", events + events // 4)
    with psycopg.connect(database.url("postgres"), autocommit=True) as session:
        session.execute(
            f"UPDATE {EVENT} SET received_at = '2025-06-01' WHERE id <= (SELECT min(id) + %s FROM {EVENT})",
            [events - 1],
        )
        session.execute(f"VACUUM FULL {EVENT}")
        if is_partitioned:
            for statement in filter(str.strip, PARTITION.split(";")):
                session.execute(statement)
        session.execute("VACUUM ANALYZE")
        session.execute("CHECKPOINT")
    before = _bytes(database, tables)
    with delivering(database, is_partitioned=is_partitioned) as times:
        time.sleep(15)
        quiet, start = len(times), time.monotonic()
        wal = _wal(database)
        (_drop if is_partitioned else _delete)(database)
        seconds, wal, busy = time.monotonic() - start, _wal(database) - wal, len(times)
        time.sleep(2)
    after = _bytes(database, tables)
    start, vacuumed = time.monotonic(), _wal(database)
    for table in tables:
        database.query(f"VACUUM {table}")
    vacuum, vacuumed = time.monotonic() - start, _wal(database) - vacuumed
    own = (busy - quiet) * WAL_OF_A_DELIVERY
    return {
        "seconds": f"{seconds:.1f}",
        "WAL, without the deliveries'": f"{max(wal - own, 0) / 1e6:.0f} MB",
        "a vacuum after it": f"{vacuum:.1f} s, {vacuumed / 1e6:.0f} MB of WAL",
        "on disk before": f"{before / 1e6:.0f} MB",
        "on disk after": f"{after / 1e6:.0f} MB",
        "a delivery before, median and p99": _told(times[:quiet]),
        "a delivery meanwhile": _told(times[quiet:busy]) if busy - quiet > 1 else "none was made",
    }


def _delete(database: PostgreSQL) -> None:
    from datetime import UTC, datetime

    from tasks.ledger.pruning import prune_events

    for _ in prune_events(before=datetime(2026, 1, 1, tzinfo=UTC)):
        pass


def _drop(database: PostgreSQL) -> None:
    with psycopg.connect(database.url("postgres"), autocommit=True) as session:
        session.execute("SET lock_timeout = '2s'")
        session.execute("DROP TABLE old")
        # The keys of what is gone go by rows, in the same steps.
        while session.execute(
            f"DELETE FROM {KEY} WHERE ctid = ANY(ARRAY("
            f"SELECT ctid FROM {KEY} WHERE received_at < '2026-01-01' LIMIT 1000))"
        ).rowcount:
            pass


@contextmanager
def delivering(database: PostgreSQL, *, is_partitioned: bool) -> Iterator[list[float]]:
    """Record events at ``RATE`` a second until the end of the block; yield how long each took."""
    times: list[float] = []
    stopping = threading.Event()
    record = _record_partitioned if is_partitioned else _record

    def deliver(number: int) -> None:
        with psycopg.connect(database.url("postgres"), autocommit=True, prepare_threshold=2) as session:
            due = time.monotonic()
            while not stopping.is_set():
                number += WRITERS
                start = time.monotonic()
                record(session, number)
                times.append(time.monotonic() - start)
                due += WRITERS / RATE
                time.sleep(max(due - time.monotonic(), 0))

    writers = [threading.Thread(target=deliver, args=(one,)) for one in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        yield times
    finally:
        stopping.set()
        for writer in writers:
            writer.join()


def _values(number: int) -> tuple[list[Any], list[Any]]:
    from tasks.ledger import upsert

    sent = body(number)
    key = hashlib.sha256(str(number).encode()).digest()
    row: dict[str, Any] = dict.fromkeys(upsert.EVENT_COLUMNS) | {
        **sent, "metadata": json.dumps(sent["metadata"]),
        "additional_properties": json.dumps(sent["additional_properties"]), "unknown_fields": "{}",
        "received_at": "2026-06-01T00:00:00Z", "source": "benchmark", "idempotency_key": key,
        "payload_digest": key,
    }  # fmt: skip
    state: dict[str, Any] = dict.fromkeys(upsert.TASK_COLUMNS_GIVEN) | {
        column: key for column in upsert.TASK_COLUMNS_GIVEN if column.endswith("_order")
    }
    state |= {
        "meaning": "running", "event_count": 1, "status_at": "2026-06-01T00:00:00Z",
        "first_event_at": "2026-06-01T00:00:00Z", "last_event_at": "2026-06-01T00:00:00Z",
        "last_received_at": "2026-06-01T00:00:00Z",
    }  # fmt: skip
    return (
        [row[column] for column in upsert.EVENT_COLUMNS],
        [state[column] for column in upsert.TASK_COLUMNS_GIVEN],
    )


def _record(session: Any, number: int) -> None:
    from tasks.ledger import upsert

    of_event, of_task = _values(number)
    session.execute(upsert.record_in_one("status,previous_status"), [*of_event, *of_task])


def _record_partitioned(session: Any, number: int) -> None:
    """Store the key first; then, in the same statement, the event and the task if the key is new."""
    from tasks.ledger import upsert

    of_event, of_task = _values(number)
    given = dict(zip(upsert.EVENT_COLUMNS, of_event, strict=True))
    keys = ("task_id", "idempotency_key", "payload_digest", "received_at")
    whole = " ".join(upsert.record_in_one("status,previous_status").split())
    start = whole.index("ON CONFLICT (task_id, idempotency_key)")
    end = whole.index("RETURNING", start)
    plain = whole[:start] + whole[end:]
    statement = plain.replace(
        "WITH event AS (",
        f"WITH key AS(INSERT INTO {KEY} AS t({','.join(keys)},deliveries)VALUES(%s,%s,%s,%s,1)"
        "ON CONFLICT(task_id,idempotency_key)DO UPDATE SET deliveries=t.deliveries+1 "
        "WHERE t.payload_digest=excluded.payload_digest RETURNING deliveries AS n),event AS (",
        1,
    ).replace("WHERE true ", "FROM key WHERE n=1 ", 1)
    session.execute(statement, [*(given[key] for key in keys), *of_event, *of_task])


def _bytes(database: PostgreSQL, tables: tuple[str, ...]) -> int:
    size = (
        "SELECT COALESCE(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relname = '{0}'"
        " OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = '{0}'::regclass)"
    )
    return sum(int(database.query(size.format(table))) for table in tables)


def _wal(database: PostgreSQL) -> int:
    return int(database.query("SELECT wal_bytes FROM pg_stat_wal"))


def _told(times: list[float]) -> str:
    return f"{median(times) * 1000:.1f} and {quantiles(times, n=100)[98] * 1000:.0f} ms"


if __name__ == "__main__":
    main()
