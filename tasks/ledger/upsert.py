"""The statements that record an event, in SQL: two for SQLite and Citus, the same two as one for PostgreSQL.

The ORM has no upsert that merges by a condition, and cannot feed one insert from another in a
single round trip. The columns come from the models and the merge from ``lifecycle.REGISTERS``, so
that nothing is defined twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from django.db.models import Model

from ..lifecycle import EARLIEST, LATEST, REGISTERS, Phase
from ..models import Reaction, Task, TaskStatusEvent

_EVENT = TaskStatusEvent._meta.db_table
_TASK = Task._meta.db_table
_REACTION = Reaction._meta.db_table
#: By vendor. Unlike PostgreSQL's, SQLite's functions are null if one of their values is.
_FUNCTIONS = {
    "postgresql": ("least({new},{old})", "greatest({new},{old})"),
    "sqlite": ("coalesce(min({new},{old}),{new},{old})", "coalesce(max({new},{old}),{new},{old})"),
}


def columns_of(model: type[Model], *, without: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of the columns of ``model``, in order."""
    columns = (str(field.column) for field in model._meta.concrete_fields)
    return tuple(column for column in columns if column not in without)


#: The columns of an event that are inserted; the id is the database's, the count begins at 1.
EVENT_COLUMNS = columns_of(TaskStatusEvent, without=("id", "deliveries"))
#: The columns of a task that are inserted.
TASK_COLUMNS = columns_of(
    Task, without=("previous_status", "previous_meaning", "pruned_at", "lost_events", "lost_at")
)
#: Those of ``TASK_COLUMNS`` that PostgreSQL takes from the event just inserted, by their names there.
_OF_EVENT = {column: column for column in TASK_COLUMNS if column in EVENT_COLUMNS} | {
    "first_event_id": "id",
    "last_event_id": "id",
    "last_received_at": "received_at",
}
#: A single event's earliest and latest times are equal, so only the first is sent.
_TWICE = {f"first_{time}_at": f"last_{time}_at" for time in ("event", *Phase)}
_ONCE = tuple(column for column in TASK_COLUMNS if column not in (*_OF_EVENT, *_TWICE, *_TWICE.values()))
#: The columns of a task that PostgreSQL is given.
TASK_COLUMNS_GIVEN = (*_ONCE, *_TWICE)
#: The columns of a reaction that are inserted.
REACTION_COLUMNS = columns_of(Reaction, without=("id", "started_at", "ended_at", "error"))
#: The columns of a task's row that a reaction is made of.
REACTING = ("status", "previous_status", "task_id", "meaning", "previous_meaning", "event_count")
#: The same if a handler asks for events that void the mark of a lost task.
FINDING = (*REACTING, "lost_events")


@cache
def insert_event(returning: str = "id, deliveries", condition: str | None = "true") -> str:
    """Return the statement that stores an event or counts one more delivery of it.

    Parameters: ``EVENT_COLUMNS``, then those of ``condition``. It returns id and deliveries (1: the event is
    new), and no row if an event with another payload has the key, or if ``condition`` does not hold. With
    None as ``condition`` it has no SELECT, which Citus would run on every node.
    """
    placeholders = f"{_placeholders(EVENT_COLUMNS)},1"
    row = f"VALUES ({placeholders})" if condition is None else f"SELECT {placeholders} WHERE {condition}"
    return f"""
        INSERT INTO {_EVENT} AS t ({_list(EVENT_COLUMNS)},deliveries)
        {row}
        ON CONFLICT (task_id, idempotency_key) DO UPDATE SET deliveries = t.deliveries + 1
        WHERE t.payload_digest = excluded.payload_digest
        RETURNING {returning}
    """


@cache
def merge_task(returning: str, vendor: str, *, reacting: bool = False) -> str:
    """Return the statement that merges the state of one event into its task, for SQLite and for Citus.

    Parameters: ``TASK_COLUMNS``. It returns the columns ``returning`` of the task's row. With
    ``reacting`` it also writes the meaning that the task had before.
    """
    row = f"VALUES ({_placeholders(TASK_COLUMNS)})"
    return _merge(TASK_COLUMNS, row, returning, vendor, reacting=reacting)


@cache
def insert_reactions(number: int) -> str:
    """Return the statement that stores reactions; parameters: ``REACTION_COLUMNS``, ``number`` times."""
    row = f"({_placeholders(REACTION_COLUMNS)})"
    return f"""
        INSERT INTO {_REACTION} ({_list(REACTION_COLUMNS)}) VALUES {_list([row] * number)}
        ON CONFLICT DO NOTHING
    """


@cache
def record_in_one(
    returning: str, condition: str = "true", *, reacting: bool = False, finding: bool = False
) -> str:
    """Return PostgreSQL's statement that does as ``insert_event()`` and ``merge_task()`` in one.

    Parameters: ``EVENT_COLUMNS``, those of ``condition``, ``TASK_COLUMNS_GIVEN``. Its row is that of
    ``insert_event()`` and then that of ``merge_task()``, null for a duplicate.

    With ``reacting`` a third part inserts the reactions of handlers. It has two more parameters, arrays of
    their names and kinds, and needs ``returning`` to be ``REACTING`` or all. With ``finding`` it also serves
    handlers of the kind ``found``, and needs ``FINDING`` or all.
    """
    # Only the columns that the task takes, and none of the event's JSON: PostgreSQL copies what is returned.
    event = insert_event(_list(dict.fromkeys(("id", "deliveries", *_OF_EVENT.values()))), condition)
    twice = _list(f"%s::timestamptz AS {column}" for column in _TWICE)
    row = f"""SELECT {_placeholders(_ONCE)},{_list((*_TWICE, *_TWICE, *_OF_EVENT.values()))}
            FROM event, (SELECT {twice}) twice WHERE deliveries = 1"""
    fed = (*_ONCE, *_TWICE, *_TWICE.values(), *_OF_EVENT)
    return f"""WITH event AS ({event}),
        merged AS ({_merge(fed, row, returning, "postgresql", reacting=reacting)})
        {_reacted(finding=finding) if reacting else ""}
        SELECT id, deliveries, merged.* FROM event LEFT JOIN merged ON true
    """


@cache
def _reacted(*, finding: bool) -> str:
    # The meaning differs only if this event's status won: a late event changes nothing. A mark of a lost task
    # that this event voids has the count of events before it. A reaction that is there already must not
    # fail the delivery.
    found = "h.k='found' AND m.lost_events=m.event_count-1 OR h.k<>'found' AND"
    changed = "m.meaning IS DISTINCT FROM m.previous_meaning"
    asked = f"{found} {changed}" if finding else changed
    return f""", reacted AS (
            INSERT INTO {_REACTION} ({_list(REACTION_COLUMNS)})
            SELECT m.task_id,h.n,m.event_count,h.k,e.id,m.previous_status,m.status,
            'pending',0,0,0,now(),now()
            FROM merged m, event e, unnest(%s::text[],%s::text[]) h(n,k)
            WHERE h.k='event' OR {asked}
            ON CONFLICT DO NOTHING
        )"""


def _merge(columns: Sequence[str], row: str, returning: str, vendor: str, *, reacting: bool) -> str:
    merged = _merged(*_FUNCTIONS[vendor])
    if reacting:
        merged["previous_meaning"] = "t.meaning"
    return f"""
        INSERT INTO {_TASK} AS t ({_list(columns)})
        {row}
        ON CONFLICT (task_id) DO UPDATE SET
        {_list(f"{column} = {value}" for column, value in merged.items())}
        RETURNING {returning}
    """


def _merged(least: str, greatest: str) -> dict[str, str]:
    """Return ``lifecycle.merge()`` in SQL: each column with the expression for its value.

    ``t`` is the task's row, ``excluded`` the event's; ``least`` and ``greatest`` are templates.
    """
    expressions = {
        column: f"CASE WHEN excluded.{order} > t.{order} THEN excluded.{column} ELSE t.{column} END"
        for order, columns in REGISTERS.items()
        for column in columns
    }
    for columns, template in ((EARLIEST, least), ((*REGISTERS, *LATEST), greatest)):
        expressions |= {
            column: template.format(new=f"excluded.{column}", old=f"t.{column}") for column in columns
        }
    return expressions | {
        "event_count": "t.event_count + excluded.event_count",
        "previous_status": "t.status",
    }


def _list(parts: Iterable[str]) -> str:
    return ",".join(parts)


def _placeholders(columns: Sequence[str]) -> str:
    return _list("%s" for _ in columns)
