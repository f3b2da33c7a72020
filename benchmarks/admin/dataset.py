"""A ledger of any size, and the tasks that it makes, copied into PostgreSQL.

The events are the stories of the simulated cluster, a day at a time, in order of receipt. Each
task's row is the fold of its events by ``tasks.lifecycle``, so that ``rebuild_tasks`` finds nothing to mend.
A great ledger is a smaller one in which each task has twins.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from random import Random
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Model
from django.utils.dateparse import parse_datetime
from rest_framework.fields import empty
from tqdm import tqdm

from tasks.conf import app_settings
from tasks.ledger.upsert import columns_of
from tasks.lifecycle import State, merge, state_of, tie_of
from tasks.models import Handler, Reaction, RejectedDelivery, Task, TaskStatusEvent
from tasks.serializers import task_status_event
from tasks.simulation.stories import story
from tasks.wire.canonical import payload_digest

EVENT_TABLE, TASK_TABLE = TaskStatusEvent._meta.db_table, Task._meta.db_table
EVENTS_A_TASK = 10.6
DAYS = 90
#: Python makes up this many events at most. For more, each task gets twins.
MOST_TOLD = 250_000
#: The id of a task with a thousand events.
LONG_TASK = "training-with-1000-events"
#: The event type of the first day, and of no later one.
OLD_TYPE = "old_status_update"
#: Each has a reaction to each ending, of which one in a hundred still waits, and one in a thousand is dead.
HANDLERS = ("billing", "notify")
#: One delivery is rejected for this many tasks, or 500 events, as from a sender that is seldom at fault.
TASKS_A_REJECTION = 47
_TIMES = ("timestamp", "started_at", "completed_at")
_JSON = ("metadata", "additional_properties", "unknown_fields")
_NOTHING = {
    name: None if field.default is empty else field.get_default()
    for name, field in task_status_event.fields.items()
}


def fill(events: int, *, until: datetime) -> None:
    """Put about ``events`` events of the ``DAYS`` before ``until`` into an empty database."""
    copies = math.ceil(events / MOST_TOLD)
    told = events // copies
    number = _tell(told, until)
    with connection.cursor() as cursor:
        if copies > 1:
            _multiply(cursor, copies)
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [EVENT_TABLE, (number + 1) * copies]
        )
        _react(cursor)
        _reject(cursor)
        cursor.execute("VACUUM (ANALYZE)")


def _tell(events: int, until: datetime) -> int:
    """Write about ``events`` events; return the id of the last one."""
    random, number = Random(1), 0
    tasks_a_day = round(events / EVENTS_A_TASK / DAYS)
    bar = tqdm(total=events, unit="event", unit_scale=True, desc="filling")
    for day in range(DAYS, 0, -1):
        begin = until - timedelta(days=day)
        stories = [_long_story(begin)] if day == 1 else []
        stories += [story(random, begin + timedelta(days=random.random())) for _ in range(tasks_a_day)]
        told = sorted((pair for each in stories for pair in each if pair[0] <= until), key=itemgetter(0))
        states: dict[str, State] = {}
        rows = []
        for at, body in told:
            number += 1
            if day == DAYS:
                body["event_type"] = OLD_TYPE
            rows.append(_event_row(number, at + timedelta(milliseconds=180), body, states))
        _copy(TaskStatusEvent, rows)
        _copy(Task, states.values())
        bar.update(len(rows))
    bar.close()
    return number


def _multiply(cursor: CursorWrapper, copies: int) -> None:
    """Give each task ``copies`` - 1 twins with events of their own, received together with its."""
    twins = {
        "task_id": "CASE twin WHEN 0 THEN task_id ELSE regexp_replace(task_id, '-', '-' || twin || '-') END",
        **{name: f"{name} * {copies} + twin" for name in ("id", "first_event_id", "last_event_id")},
    }
    for model in (TaskStatusEvent, Task):
        table, columns = model._meta.db_table, columns_of(model)
        cursor.execute(f"CREATE TEMP TABLE told AS SELECT * FROM {table}")
        cursor.execute(f"TRUNCATE {table}")
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) "
            f"SELECT {', '.join(twins.get(column, column) for column in columns)} "
            f"FROM (SELECT *, generate_series(0, {copies - 1}) AS twin FROM told) AS told"
        )
        cursor.execute("DROP TABLE told")


def _react(cursor: CursorWrapper) -> None:
    """Give each task that has ended a reaction of each handler."""
    cursor.execute(
        f"INSERT INTO {Handler._meta.db_table} (name, registered_at, seen_at) "
        "SELECT unnest(%s::text[]), now(), now()",
        [list(HANDLERS)],
    )
    cursor.execute(
        f"INSERT INTO {Reaction._meta.db_table} (task_id, handler, seq, kind, event_id, status, state, "
        "attempts, excused, replays, due_at, created_at, ended_at, error) "
        "SELECT task_id, handler, event_count, 'change', last_event_id, status, state, "
        "1, 0, 0, last_received_at, last_received_at, "
        "CASE state WHEN 'pending' THEN NULL ELSE last_received_at END, "
        "CASE state WHEN 'dead' THEN 'ConnectionError: no route to host' END "
        f"FROM {TASK_TABLE}, unnest(%s::text[]) AS handler, LATERAL (SELECT CASE "
        "WHEN last_event_id %% 1000 = 0 THEN 'dead' WHEN last_event_id %% 100 = 1 THEN 'pending' "
        "ELSE 'done' END AS state) AS states "
        "WHERE meaning IN ('succeeded', 'failed', 'cancelled') ORDER BY last_event_id",
        [list(HANDLERS)],
    )


def _reject(cursor: CursorWrapper) -> None:
    """Store an open rejected delivery of every 47th task, which its sender has never sent again."""
    error = {"loc": ["body", "progress"], "msg": "Input should be less than or equal to 100", "input": 101,
             "type": "less_than_equal", "ctx": {"le": 100.0}}  # fmt: skip
    body = "jsonb_build_object('task_id', task_id, 'status', 'stuck', 'progress', 101)"
    numbered = f"SELECT *, row_number() OVER (ORDER BY last_received_at, task_id) AS number FROM {TASK_TABLE}"
    cursor.execute(
        f"INSERT INTO {RejectedDelivery._meta.db_table} (received_at, source, status, errors, faults, "
        "headers, body, is_whole, not_kept, outcome, named_task, named_status) "
        "SELECT last_received_at, 'cluster', 422, %s::jsonb, ' progress:less_than_equal ', '{}'::jsonb, "
        f"convert_to({body}::text, 'UTF8'), true, 0, 'open', task_id, 'stuck' "
        f"FROM ({numbered}) AS tasks WHERE number %% %s = 0 ORDER BY number",
        [json.dumps([error]), TASKS_A_REJECTION],
    )


def _event_row(
    number: int, received_at: datetime, body: dict[str, Any], states: dict[str, State]
) -> dict[str, Any]:
    event = {**_NOTHING, **body, "unknown_fields": {}}
    for name in _TIMES:
        event[name] = parse_datetime(event[name]) if event[name] else None
    digest = payload_digest(body)
    state = state_of(
        event, event_id=number, received_at=received_at, tie=tie_of(digest, digest), settings=app_settings()
    )
    task_id = body["task_id"]
    known = states.get(task_id)
    merged = merge(known, state) if known else state
    states[task_id] = {**merged, "task_id": task_id, "previous_status": known["status"] if known else None}
    return {
        **event, "id": number, "received_at": received_at, "source": "cluster", "deliveries": 1,
        "idempotency_key": digest, "payload_digest": digest,
    }  # fmt: skip


def _long_story(begin: datetime) -> list[tuple[datetime, dict[str, Any]]]:
    random = Random(2)
    for _ in range(1000):
        told = story(random, begin)
        if told[0][1]["task_type"] == "training":
            break
    body = {**told[1][1], "task_id": LONG_TASK, "status": "running"}
    times = [begin + timedelta(seconds=80 * step) for step in range(1000)]
    return [
        (at, {**body, "progress": step / 10, "timestamp": at.isoformat()}) for step, at in enumerate(times)
    ]


def _copy(model: type[Model], rows: Any) -> None:
    columns = columns_of(model)
    defaults: dict[str, Any] = {
        str(field.column): field.get_default() for field in model._meta.concrete_fields if field.has_default()
    }
    statement = f"COPY {model._meta.db_table} ({', '.join(columns)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(list(_values(columns, defaults | row)))


def _values(columns: Sequence[str], row: dict[str, Any]) -> Iterator[Any]:
    for column in columns:
        value = row.get(column)
        yield json.dumps(value) if column in _JSON and value is not None else value
