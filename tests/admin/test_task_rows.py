"""Search and sorting of the list of tasks without an index."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from tasks.admin import task_rows
from tasks.admin.task import TaskAdmin
from tasks.models import Task
from tests.admin.test_task_silence import mark_lost
from tests.cluster import not_on_citus
from tests.databases import more_on_citus
from tests.factories import NOON, minutes, record

pytestmark = pytest.mark.django_db
TABLE = "sartiq_tasks_task"
PROGRESS, HEARD, DURATION = (
    str(TaskAdmin.list_display.index(name)) for name in ("progress_shown", "last_heard", "elapsed")
)
LIST = "/admin/sartiq_tasks/task/"
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's own")


def listed(client: Client, **query: str) -> list[str]:
    answer: Any = client.get(f"{LIST}?{urlencode(query)}")
    assert answer.status_code == 200
    return [row.pk for row in answer.context["cl"].result_list]


TRACE = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nOutOfMemoryError: CUDA'


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("TRAIN", {"train-1"}),
        ("rain-1", {"train-1"}),
        ("Model-7", {"train-1"}),
        ("GPU-NODE", {"gen-2"}),
        ("outofmemory", {"gen-2"}),
        ("boom", {"gen-3"}),
        ("100%", {"gen-3"}),
        ("_", set()),
        ("%", {"gen-3"}),
        ("\\", set()),
        ("nothing", set()),
        ("gen", {"gen-2", "gen-3"}),
        ("n" * 3000, set()),  # longer than any column
    ],
)
def test_any_part_in_any_letter_case(admin_client: Client, term: str, found: set[str]) -> None:
    record(task_id="train-1", entity_id="model-7")
    record(task_id="gen-2", origin_instance="gpu-node-1", status="failed", error_message=TRACE)
    record(task_id="gen-3", status="failed", error_message="Boom at 100%\nmore")

    assert set(listed(admin_client, q=term)) == found


@pytest.mark.parametrize(
    ("term", "found", "wider"),
    [
        ("train-1", {"train-1"}, "?q=%2Atrain-1"),
        ("model-7", {"train-1"}, "?q=%2Amodel-7"),
        ("rain-1", {"train-1", "gen-2"}, None),
        ("*train-1", {"train-1", "gen-2"}, None),
        ("*model-7", {"train-1", "gen-3"}, None),
        ("*", {"*-4"}, "?q=%2A%2A"),
        ("*-4", {"*-4"}, None),
    ],
)
@pytest.mark.parametrize("most", [1000, 0])
@pytest.mark.parametrize("is_distributed", [False, True])
def test_parts_are_looked_for_if_an_index_finds_nothing_or_they_are_asked_for(
    admin_client: Client, monkeypatch: Any, settings: Any, term: str, found: set[str], wider: str | None,
    most: int, is_distributed: bool,
) -> None:  # fmt: skip
    if is_distributed:
        settings.SARTIQ_TASKS = {"DISTRIBUTED": True}
    if most == 0 and wider:
        monkeypatch.setattr(task_rows, "MAX_FOUND", most)
    record(task_id="train-1", entity_id="model-7")
    record(task_id="gen-2", status="failed", error_message="train-1 took the node")
    record(task_id="gen-3", origin_instance="of-model-7")
    record(task_id="*-4")

    answer: Any = admin_client.get(LIST, {"q": term})
    assert {row.pk for row in answer.context["cl"].result_list} == found
    assert answer.context["wider"] == wider
    assert ("Search for any part too" in answer.content.decode()) == (wider is not None)


def test_what_an_index_finds_is_read_in_as_many_queries(
    admin_client: Client, django_assert_num_queries: Any
) -> None:
    record(task_id="train-1")
    listed(admin_client, q="train-1")

    # As below: the statement that looks for parts says that there is no need to.
    with django_assert_num_queries(5 + more_on_citus(5)):
        assert listed(admin_client, q="train-1") == ["train-1"]


@pytest.fixture
def old(monkeypatch: Any) -> None:
    """A task that is not among the two last heard from."""
    monkeypatch.setattr(task_rows, "MAX_COUNT", 2)
    record(NOON, task_id="old-one", entity_id="old-model", progress=99)
    record(NOON + minutes(1), task_id="b")
    record(NOON + minutes(2), task_id="c")


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(
    ("term", "found"), [("old-", True), ("old-model", True), ("OLD-", False), ("ne", False)]
)
def test_beyond_the_tasks_heard_of_last_only_what_an_index_finds(
    admin_client: Client, term: str, found: bool
) -> None:
    assert listed(admin_client, q=term) == (["old-one"] if found else [])


@on_postgresql
@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(("term", "found"), [("OLD-", True), ("ne", False), ("d-o", True), ("d%o", False)])
def test_with_an_index_of_the_hosts_own_all_tasks_are_searched(
    admin_client: Client, term: str, found: bool
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX {task_rows.INDEX} ON sartiq_tasks_task ({task_rows.SEARCHED})")

    assert listed(admin_client, q=term) == (["old-one"] if found else [])


def test_the_index_is_that_of_the_page_for_staff() -> None:
    page = (Path(__file__).parents[2] / "docs" / "admin.md").read_text()

    assert f"{task_rows.INDEX} ON {TABLE} USING gin ({task_rows.SEARCHED} gin_trgm_ops);" in page


@on_postgresql
@not_on_citus("its plans name no index of a shard")
def test_trigrams_serve_the_search() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM pg_available_extensions WHERE name = 'pg_trgm'")
        if cursor.fetchone() == (0,):
            pytest.skip("This PostgreSQL has no pg_trgm.")
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        cursor.execute(
            f"CREATE INDEX {task_rows.INDEX} ON {TABLE} USING gin ({task_rows.SEARCHED} gin_trgm_ops)"
        )
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            f"EXPLAIN SELECT task_id FROM {TABLE} WHERE {task_rows.SEARCHED} ILIKE '%abc%' LIMIT 5"
        )
        assert task_rows.INDEX in str(cursor.fetchall())


def test_a_search_is_made_once_a_page(admin_client: Client, django_assert_num_queries: Any) -> None:
    record(task_id="train-1")
    listed(admin_client, q="RAIN")

    # Session, user, the choices of three filters, what the search finds, the rows, which suffice for all
    # counts, as they fit on a page.
    with django_assert_num_queries(5 + more_on_citus(4)):
        assert listed(admin_client, q="RAIN") == ["train-1"]


def test_a_search_where_no_catalogue_is_mixed_with_tables(admin_client: Client, settings: Any) -> None:
    settings.SARTIQ_TASKS = {"DISTRIBUTED": True}
    record(task_id="train-1")

    assert listed(admin_client, q="RAIN") == ["train-1"]


def test_search_results_beyond_a_page_are_counted(admin_client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(TaskAdmin, "list_per_page", 2)
    for number in range(3):
        record(task_id=f"train-{number}")

    answer: Any = admin_client.get(LIST, {"q": "rain", "p": "2"})
    assert [row.pk for row in answer.context["cl"].result_list] == ["train-0"]
    assert (answer.context["cl"].result_count, answer.context["counts"][1]["number"]) == (3, "3")
    assert listed(admin_client, q="rain-1", p="1") == ["train-1"]
    assert listed(admin_client, q="no such") == []


def test_the_rows_of_a_page_are_counted_as_the_database_does() -> None:
    now = timezone.now()
    record(now, task_id="new")
    record(NOON, task_id="silent")
    record(NOON, task_id="lost")
    record(NOON, task_id="lost-and-ended")
    for task_id in ("lost", "lost-and-ended"):
        mark_lost(Task.objects.get(pk=task_id))
    for number, status in enumerate(("queued", "failed", "failed", "completed", "cancelled", "napping")):
        record(NOON, task_id=f"t{number}", status=status)
    record(NOON + minutes(1), task_id="lost-and-ended", status="completed")

    counted = Task.objects.counts(cap=100, now=now)
    assert task_rows.counts(Task.objects.all(), now) == counted
    assert (counted["silent"], counted["lost"], counted["failed"]) == (2, 1, 2)


def test_a_search_is_the_same_with_letters_beyond_ascii(admin_client: Client) -> None:
    record(task_id="t-1", entity_id="Größe-7")

    assert listed(admin_client, q="größe-7") == ["t-1"]
    assert listed(admin_client, q="GRöß") == ["t-1"]
    assert listed(admin_client, q="GRÖSSE") == []


def test_sorted_by_progress(admin_client: Client) -> None:
    for number, progress in enumerate((30, 10, 20)):
        record(NOON + minutes(number), task_id=f"t{progress}", progress=progress)

    assert listed(admin_client, o=PROGRESS) == ["t10", "t20", "t30"]
    assert listed(admin_client, o=f"-{PROGRESS}") == ["t30", "t20", "t10"]


def at(number: float) -> str:
    return (NOON + minutes(number)).isoformat()


def test_an_ended_task_tells_its_end_on_hover(admin_client: Client) -> None:
    record(task_id="runs", started_at=NOON.isoformat())
    record(task_id="ended", status="done", started_at=NOON.isoformat(), completed_at="2026-05-01T12:05:00Z")
    record(task_id="odd", status="done", started_at="0001-01-01T00:00:00Z")
    html = admin_client.get(LIST).content.decode()
    cells = re.findall(r'<td class="field-elapsed">(.*?)</td>', html)

    assert cells.count('<span title="Ended 2026-05-01 12:05:00.000 UTC">5 min</span>') == 1
    assert cells.count("—") == 1, "nobody measured that"
    assert len([cell for cell in cells if "title" in cell]) == 1


def test_sorted_by_duration(admin_client: Client) -> None:
    now = timezone.now()
    record(now, task_id="runs", started_at=(now - timedelta(hours=1)).isoformat())
    record(now, task_id="told", status="failed", started_at=at(0), completed_at=at(17))
    for minute, status in ((0, "running"), (9, "failed"), (10, "failed")):
        record(NOON + minutes(minute), task_id="once", status=status, timestamp=at(minute))
    for minute, status in ((0, "running"), (2, "failed"), (3, "running"), (5, "failed")):
        record(NOON + minutes(minute), task_id="again", status=status, timestamp=at(minute))
    for minute, status in ((0, "failed"), (1, "queued"), (2, "failed")):
        record(NOON + minutes(minute), task_id="queued", status=status, timestamp=at(minute))
    expected = sorted(Task.objects.all(), key=lambda task: task.duration(now))

    assert [task.pk for task in expected] == ["queued", "again", "once", "told", "runs"]
    assert listed(admin_client, o=DURATION) == ["queued", "again", "once", "told", "runs"]
    assert listed(admin_client, o=f"-{DURATION}") == ["runs", "told", "once", "again", "queued"]


@pytest.mark.parametrize("order", [PROGRESS, f"-{PROGRESS}", DURATION, f"{PROGRESS}.{HEARD}"])
def test_a_sort_without_an_index_is_among_the_tasks_heard_of_last(
    admin_client: Client, monkeypatch: Any, order: str
) -> None:
    monkeypatch.setattr("tasks.admin.changelist.MAX_COUNT", 2)
    for number in range(3):
        record(NOON + minutes(number), task_id=f"t{number}", progress=number)
    answer = admin_client.get(LIST, {"o": order})

    assert b"Sorted among the 10,000 tasks last heard from." in answer.content
    assert set(listed(admin_client, o=order)) == {"t1", "t2"}


@pytest.mark.parametrize("order", ["", HEARD, f"-{HEARD}", "x", "99"])
def test_any_other_order_is_of_all(admin_client: Client, monkeypatch: Any, order: str) -> None:
    monkeypatch.setattr("tasks.admin.changelist.MAX_COUNT", 2)
    for number in range(3):
        record(NOON + minutes(number), task_id=f"t{number}")
    answer = admin_client.get(LIST, {"o": order} if order else {})

    assert b"Sorted among" not in answer.content
    assert len(listed(admin_client, o=order)) == 3
