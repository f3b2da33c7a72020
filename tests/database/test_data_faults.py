"""Data that a database can never hold is rejected and kept, on real databases that are not UTF-8."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import shake_256

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import DataError, IntegrityError, OperationalError, connection
from django.http import HttpResponse

from tasks.database.data_faults import is_fault_of_data, reject_fault_of_data
from tasks.exceptions import ContractViolation
from tasks.models import RejectedDelivery, Task, TaskStatusEvent
from tasks.rejections import try_again
from tests.factories import body

pytestmark = pytest.mark.django_db(transaction=True)
Post = Callable[..., HttpResponse]

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite is always UTF-8")


@contextmanager
def database_in(encoding: str) -> Iterator[None]:
    """Have the default connection use a new, migrated database in ``encoding``."""
    name, was = f"test_{encoding.lower()}", connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        call_command("migrate", verbosity=0)
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = was
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture
def latin1(transactional_db: None) -> Iterator[None]:
    with database_in("LATIN1"):
        yield


@pytest.fixture
def sql_ascii(transactional_db: None) -> Iterator[None]:
    with database_in("SQL_ASCII"):
        yield


def warnings() -> list[str]:
    codes = (f"{message.id}: {message.msg}" for message in run_checks(databases=["default"]))
    return [code for code in codes if code.startswith("sartiq_tasks.W020")]


@on_postgresql
def test_characters_that_latin1_lacks_are_rejected_and_kept(latin1: None, post: Post) -> None:
    unstorable = [
        body(task_id="\N{ROCKET}"),
        body(error_message="5 \N{EURO SIGN}"),
        body(metadata={"日本": ["\N{ROCKET}"]}),
        body(progress=101, status="\N{ROCKET}"),
    ]
    for sent in unstorable:
        answer = post(json.dumps(sent, ensure_ascii=False).encode(), headers={"User-Agent": "\N{EURO SIGN}"})
        assert answer.status_code == 422
        assert "Retry-After" not in answer.headers

    assert not Task.objects.exists()
    kept = list(RejectedDelivery.objects.order_by("pk"))
    assert [json.loads(bytes(one.body)) for one in kept] == unstorable
    assert [one.faults.strip() for one in kept[:3]] == ["body:unstorable"] * 3
    assert "LATIN1" in kept[0].errors[0]["ctx"]["error"]
    with pytest.raises(ContractViolation):
        try_again(kept[0])
    assert post(body(error_message="für 5 £")).status_code == 200
    assert Task.objects.get().error_message == "für 5 £"


@on_postgresql
def test_a_check_warns_of_latin1(latin1: None) -> None:
    assert len(warnings()) == 1
    assert "LATIN1" in warnings()[0]


@on_postgresql
def test_sql_ascii_holds_bytes_as_they_come_but_a_check_warns(sql_ascii: None, post: Post) -> None:
    sent = body(task_id="\N{ROCKET}", error_message="5 \N{EURO SIGN}", metadata={"日本": ["\N{ROCKET}"]})

    assert post(sent).status_code == 200
    assert post(sent | {"progress": 101}).status_code == 422

    event = TaskStatusEvent.objects.get()
    assert (event.task_id, event.metadata) == (sent["task_id"], sent["metadata"])
    assert RejectedDelivery.objects.count() == 1
    assert len(warnings()) == 1


def test_utf8_is_no_reason_to_warn() -> None:
    assert warnings() == []


@on_postgresql
def test_a_client_encoding_that_lacks_a_character_is_a_fault_of_the_data_too(post: Post) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET client_encoding TO 'LATIN1'")
    try:
        assert post(body(status="\N{ROCKET}")).status_code == 422
        assert RejectedDelivery.objects.get().faults == " body:unstorable "
    finally:
        connection.close()


@on_postgresql
def test_a_value_too_long_for_an_index_of_the_host_is_rejected_and_kept(post: Post) -> None:
    table = TaskStatusEvent._meta.db_table
    random = shake_256(b"").hexdigest(8000)  # which does not compress
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX of_the_host ON {table} (error_message)")
    try:
        assert post(body(error_message=random)).status_code == 422
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX of_the_host")

    kept = RejectedDelivery.objects.get()
    assert "index row" in kept.errors[0]["ctx"]["error"]
    assert not try_again(kept).duplicate


def test_the_longest_names_fit_every_index(post: Post) -> None:
    names = dict.fromkeys(
        ("task_id", "event_type", "task_type", "status", "entity_id", "origin_zone", "error_category"),
        "🚀" * 255,
    )

    assert post(body(**names), headers={"Idempotency-Key": "k" * 5000}).status_code == 200


@pytest.mark.parametrize("number", [10**4299, -(10**300), 1e308, 5e-324, 0.1])
def test_numbers_of_any_size_are_stored(post: Post, number: float) -> None:
    assert post(body(metadata={"a": number})).status_code == 200


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DataError("value too long"), True),
        (UnicodeEncodeError("latin-1", "\N{ROCKET}", 0, 1, "ordinal not in range"), True),
        (OperationalError("server closed the connection unexpectedly"), False),
        (IntegrityError("a host's own constraint"), False),
        (ValueError("anything else"), False),
    ],
)
def test_whose_fault_it_is(error: Exception, expected: bool) -> None:
    assert is_fault_of_data(error) is expected


def test_an_outage_passes() -> None:
    reject_fault_of_data(OperationalError("the database is away"))
