"""How the size of the ledger matters: throughput, processor and WAL per event, empty and at 5 million."""

from __future__ import annotations

import argparse
from statistics import median

import psycopg
from tqdm import tqdm

from .contenders import contenders, require_tools, running
from .load import Measurement
from .postgresql import PostgreSQL, postgresql

STEP = 250_000
FILL = """
INSERT INTO sartiq_tasks_taskstatusevent (
    task_id, event_type, status, origin_instance, origin_zone, origin_version, timestamp, metadata, progress,
    started_at, task_type, additional_properties, unknown_fields, received_at, source, deliveries,
    idempotency_key, payload_digest)
SELECT format('train-%%s-%%s', lpad((number / 100 %% 1000)::text, 5, '0'), number / 100),
    'training_status_update', 'running', 'gpu-worker-001.cluster.internal', 'eu-central-1a', '2.14.3', now(),
    '{"epoch": 3, "step": 12345, "loss": 0.123456, "message": "step done"}', number %% 100, now(),
    'model_training', '{"scheduler": "slurm", "queue": "gpu-long"}', '{}', now(), 'cluster', 1, key, key
FROM (SELECT number, sha256(int8send(number)) AS key FROM generate_series(%s::bigint, %s::bigint) number) _
"""


def fill(database: PostgreSQL, name: str, events: int) -> None:
    """Put ``events`` events of past tasks into the ledger, 100 each; the running tasks sort between them."""
    with psycopg.connect(database.url(name), autocommit=True) as connection:
        for start in tqdm(range(0, events, STEP), desc="filling", unit_scale=STEP, unit="event"):
            connection.execute(FILL, [start, min(start + STEP, events) - 1])
        connection.execute("VACUUM ANALYZE")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.size", description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000, help="events of the full ledger")
    parser.add_argument("--rounds", type=int, default=8, help="rounds of each (default 8)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of each round (default 5)")
    given = parser.parse_args()
    require_tools()
    measured: dict[str, list[Measurement]] = {"ours_empty": [], "ours_full": []}
    wal = {"ours_empty": 0, "ours_full": 0}
    with postgresql() as database:
        servers = list(contenders(database, ["ours_empty", "ours_full"]))
        fill(database, "ours_full", given.events)
        with running(servers):
            for server in servers:
                server.measure(database, 8, 1)
            database.query("CHECKPOINT")
            for _ in tqdm(range(given.rounds), unit="round"):
                for server in servers:
                    before = int(database.query("SELECT wal_bytes FROM pg_stat_wal"))
                    one = server.measure(database, 32, given.seconds)
                    after = int(database.query("SELECT wal_bytes FROM pg_stat_wal"))
                    measured[server.name].append(one)
                    wal[server.name] += after - before
    print("\n| ledger | requests/s | CPU ms | WAL kB an event |\n|---|---|---|---|")
    for name, rounds in measured.items():
        throughput, cpu = median(one.throughput for one in rounds), median(one.cpu_per_1000 for one in rounds)
        kilobytes = wal[name] / sum(one.requests for one in rounds) / 1000
        print(f"| {name} | {throughput:,.0f} | {cpu:.3f} | {kilobytes:.2f} |")
    pairs = list(zip(measured["ours_full"], measured["ours_empty"], strict=True))
    print(f"full / empty: throughput {median(a.throughput / b.throughput for a, b in pairs):.2f},", end=" ")
    print(f"CPU {median(a.cpu_per_1000 / b.cpu_per_1000 for a, b in pairs):.2f}")


if __name__ == "__main__":
    main()
