"""Rejected deliveries are kept for a person, bounded, and can be tried again."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.exceptions import UnsupportedMediaType

from tasks import rejections
from tasks.exceptions import BodyTooLarge, ContractViolation, IdempotencyConflict
from tasks.models import RejectedDelivery, Task, TaskStatusEvent
from tasks.querysets import RejectedDeliveryQuerySet
from tasks.rejections import (
    MAX_HEADER_LENGTH,
    MAX_START_BYTES,
    count_rejected,
    keep_rejected,
    note_those_sent_again,
    reopen,
    settle,
    try_again,
)
from tests.conftest import WEBHOOK
from tests.factories import NOON, body, minutes, record, rejected

pytestmark = pytest.mark.django_db
GOOD = json.dumps(body()).encode()


def test_a_violation_is_kept_with_all_that_helps(post: Any) -> None:
    sent = b' {"progress": 101, "metadata": {"a": "\\u0000"}, "status": 5} '
    headers = {"Idempotency-Key": "k\xe9y", "User-Agent": "cluster/1", "Cookie": "secret", "X-Other": "no"}

    answer = post(sent, headers=headers)

    kept = RejectedDelivery.objects.get()
    assert (answer.status_code, kept.status, kept.errors) == (422, 422, answer.json()["detail"])
    assert (bytes(kept.body), kept.is_whole, bytes(kept.idempotency_key)) == (sent, True, b"k\xe9y")
    assert kept.source.startswith("cluster-")
    assert kept.headers == {
        "Content-Length": str(len(sent)),
        "Content-Type": "application/json",
        "Idempotency-Key": "k\xe9y",
        "User-Agent": "cluster/1",
    }
    assert kept.faults.split() == [
        "event_type:missing", "task_id:missing", "status:string_type", "progress:less_than_equal",
        "task_type:missing",
    ]  # fmt: skip
    assert (kept.not_kept, kept.outcome, kept.settled_at, kept.settled_by) == (0, "open", None, None)
    assert (kept.named_task, kept.named_status) == (None, None)
    assert str(kept) == f"{kept.source}: 422"


@pytest.mark.parametrize(
    ("content", "faults"),
    [(b"", "body:missing"), (b"[]", "body:model_attributes_type"), (b"{\xff", "body:json_invalid")],
)
def test_what_is_wrong_with_the_whole_is_the_bodys(post: Any, content: bytes, faults: str) -> None:
    post(content)

    kept = RejectedDelivery.objects.get()
    assert (bytes(kept.body), kept.faults) == (content, f" {faults} ")


def test_another_media_type_is_kept_with_its_body(post: Any) -> None:
    post(GOOD, content_type="text/plain")

    kept = RejectedDelivery.objects.get()
    assert (kept.status, bytes(kept.body), kept.is_whole) == (415, GOOD, True)
    assert kept.faults == " body:unsupported_media_type "
    assert "text/plain" in kept.errors[0]["msg"]


def test_the_start_of_a_body_that_is_too_long_is_kept() -> None:
    rejection = BodyTooLarge(5000, start=b"x" * 5001)
    keep_rejected(rejection, body=b"", headers={}, source="tests", idempotency_key=None)

    kept = RejectedDelivery.objects.get()
    assert (kept.status, bytes(kept.body), kept.is_whole) == (413, b"x" * MAX_START_BYTES, False)
    assert kept.faults == " body:body_too_large "


def test_a_declared_length_over_the_limit_is_kept_without_reading(post: Any, settings: Any) -> None:
    settings.SARTIQ_TASKS = {"MAX_BODY_BYTES": 5000}
    post(b"x" * 6000)

    kept = RejectedDelivery.objects.get()
    assert (kept.status, bytes(kept.body), kept.headers["Content-Length"]) == (413, b"", "6000")


def test_headers_are_cut_and_made_storable(post: Any) -> None:
    post(b"", headers={"User-Agent": "\0" + "a" * 5000})

    assert RejectedDelivery.objects.get().headers["User-Agent"] == "\N{REPLACEMENT CHARACTER}" + "a" * (
        MAX_HEADER_LENGTH - 1
    )


def test_nothing_is_kept_of_a_stranger() -> None:
    answers = [
        Client().post(WEBHOOK, b"", content_type="a/b", headers=h)
        for h in ({}, {"Authorization": "Bearer x"})
    ]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert not RejectedDelivery.objects.exists()


def test_nothing_is_kept_of_what_was_accepted(post: Any) -> None:
    assert post(GOOD).status_code == 200
    assert not RejectedDelivery.objects.exists()


def test_a_valid_delivery_costs_no_more_queries(post: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        post(GOOD)

    assert not [query for query in queries if "rejecteddelivery" in query["sql"]]


def test_a_flood_is_counted_beyond_its_bound(post: Any, settings: Any, monkeypatch: Any) -> None:
    settings.SARTIQ_TASKS = {"REJECTED_PER_MINUTE": 2}
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOON)
    rejected()  # another client's
    for _ in range(5):
        assert post(b"[]").status_code == 422
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOON + minutes(1))
    post(b"[]")

    kept = RejectedDelivery.objects.order_by("pk").values_list("source", "not_kept")
    assert [number for source, number in kept if source == "tests"] == [0]
    assert [number for source, number in kept if source != "tests"] == [0, 3, 0]
    assert count_rejected(timedelta(hours=1)) == 7
    assert count_rejected(timedelta(seconds=30)) == 1


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's lock")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kept", [1, 2])
def test_one_is_kept_or_counted_though_another_is_stored_meanwhile(
    settings: Any, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """On SQLite, a transaction that begins by reading cannot write any more, unless it is IMMEDIATE."""
    settings.SARTIQ_TASKS = {"REJECTED_PER_MINUTE": kept}
    connection.ensure_connection()
    monkeypatch.setattr(connections["default"], "transaction_mode", None)
    rejected()

    def meanwhile(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE")):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(record_and_close).result()
        return execute(sql, *args)

    with connection.execute_wrapper(meanwhile):
        keep_rejected(UnsupportedMediaType("x"), body=b"", headers={}, source="tests", idempotency_key=None)

    assert sum(1 + one.not_kept for one in RejectedDelivery.objects.all()) == 2


def record_and_close() -> None:
    record()
    connection.close()


def test_none_are_kept_where_none_are_wanted(post: Any, settings: Any) -> None:
    settings.SARTIQ_TASKS = {"REJECTED_PER_MINUTE": 0}

    assert post(b"[]").status_code == 422
    assert not RejectedDelivery.objects.exists()


def test_a_database_that_cannot_keep_it_changes_nothing_about_the_answer(
    post: Any, monkeypatch: Any, caplog: Any
) -> None:
    def fail(*args: Any) -> None:
        raise DatabaseError("disk full")

    monkeypatch.setattr(rejections, "_keep", fail)

    assert post(b"[]").status_code == 422
    assert "could not be kept: status=422 client='" in caplog.text


def test_try_again_records_as_of_the_time_of_receipt() -> None:
    kept = rejected(GOOD, key=b"a", received_at=NOON)

    recorded = try_again(kept, by="ada")

    event = TaskStatusEvent.objects.get()
    assert (recorded.event_id, recorded.duplicate) == (event.pk, False)
    assert (event.received_at, event.source, bytes(event.idempotency_key)) == (NOON, "tests", b"a")
    assert Task.objects.get().last_received_at == NOON
    kept.refresh_from_db()
    assert (kept.outcome, kept.settled_by) == ("tried", "ada")
    assert kept.settled_at > NOON
    assert try_again(kept).duplicate


def test_try_again_without_a_key_stores_it_under_its_digest() -> None:
    assert not try_again(rejected(GOOD)).duplicate
    assert record().duplicate


def test_try_again_of_what_is_wrong_still_says_what_is_wrong_now() -> None:
    kept = rejected(b'{"progress": 101}', status=415, faults=" old ", errors=[])

    with pytest.raises(ContractViolation):
        try_again(kept)

    kept.refresh_from_db()
    assert (kept.status, kept.outcome) == (422, "open")
    assert "progress:less_than_equal" in kept.faults
    assert [error["loc"][1] for error in kept.errors][:2] == ["event_type", "task_id"]
    assert not TaskStatusEvent.objects.exists()


@pytest.mark.parametrize(
    ("changes", "limit", "rejection"),
    [
        ({"headers": {"Content-Type": "text/plain"}}, 1000, UnsupportedMediaType),
        ({"is_whole": False}, 1000, BodyTooLarge),
        ({}, 10, BodyTooLarge),
    ],
)
def test_try_again_judges_more_than_the_fields(
    settings: Any, changes: Any, limit: int, rejection: Any
) -> None:
    kept = rejected(GOOD, **changes)
    settings.SARTIQ_TASKS = {"MAX_BODY_BYTES": limit}

    with pytest.raises(rejection):
        try_again(kept)
    assert not TaskStatusEvent.objects.exists()


def test_try_again_of_a_key_that_is_taken() -> None:
    record(key=b"a", progress=6)

    with pytest.raises(IdempotencyConflict):
        try_again(rejected(GOOD, key=b"a"))
    assert RejectedDelivery.objects.get().settled_at is None


def named(content: bytes) -> tuple[str | None, str | None]:
    kept = rejected(content)
    return kept.named_task, kept.named_status


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"task_id": "a b", "status": "done", "progress": 101}', ("a b", "done")),
        (b'\xef\xbb\xbf {"status": "done", "task_id": "t"}', ("t", "done")),
        (b'{"task_id": "t", "task_id": "u", "progress": 101}', ("u", None)),
        (b'{"task_id": "t", "status": "done", "metadata": {"los', ("t", "done")),
        (b'{"task_id": "t", "status" "done"}', ("t", None)),
        (b'{"task_id": "t"{"status": "done"}', ("t", None)),
        (b'{"task_id": "t", 5: "x", "status": "done"}', ("t", None)),
        (b'{"metadata": {"task_id": "t"}, "status": 5, "task_id": 5}', (None, None)),
        (b'{"task_id": "a\\nb", "status": "\\ud800", "progress": 101}', (None, None)),
        (b'{"task_id": "\xff", "status": ""}', (None, None)),
        (b'[{"task_id": "t"}]', (None, None)),
        (b'{"a": ' + b"[" * 100_000, (None, None)),
        (b'{"a": ' + b"9" * 5000 + b', "task_id": "t"}', (None, None)),
        (json.dumps({"task_id": "x" * 256, "status": "y" * 255}).encode(), (None, "y" * 255)),
        (b"", (None, None)),
    ],
)
def test_the_task_and_the_status_that_a_body_names(content: bytes, expected: Any) -> None:
    assert named(content) == expected


WRONG = json.dumps(body(progress=101)).encode()


@pytest.mark.parametrize(
    ("changes", "event", "outcome"),
    [
        ({}, {}, "sent"),
        ({}, {"progress": 7}, "sent"),
        ({}, {"status": "queued"}, "open"),
        ({}, {"task_id": "another"}, "open"),
        ({"received_at": NOON}, {"received_at": NOON}, "open"),
        ({"key": b"k"}, {"status": "queued", "key": b"k"}, "sent"),
        ({"key": b"k"}, {"status": "queued", "key": b"l"}, "open"),
        ({"key": b"k"}, {"task_id": "another", "status": "queued", "key": b"k"}, "open"),
        ({"named_status": None}, {}, "open"),
        ({"named_status": None, "key": b"k"}, {"key": b"k"}, "sent"),
        ({"named_task": None, "key": b"k"}, {"key": b"k"}, "open"),
    ],
)
def test_what_was_sent_again_and_accepted(changes: Any, event: Any, outcome: str) -> None:
    record(NOON - minutes(1), progress=3)
    kept = rejected(WRONG, **changes)
    record(**event)

    assert note_those_sent_again() == (outcome == "sent")
    kept.refresh_from_db()
    accepted = TaskStatusEvent.objects.latest("pk").received_at
    assert (kept.outcome, kept.settled_at) == (outcome, accepted if outcome == "sent" else None)
    assert kept.settled_by is None
    assert note_those_sent_again() == 0


def test_it_was_sent_again_by_the_first_event_that_repeats_it() -> None:
    earlier, later = rejected(WRONG, received_at=NOON), rejected(WRONG, received_at=NOON + minutes(2))
    for minute in (-1, 1, 3, 4):
        record(NOON + minutes(minute), progress=minute + 5)

    assert note_those_sent_again() == 2
    settled = [RejectedDelivery.objects.get(pk=one.pk).settled_at for one in (earlier, later)]
    assert settled == [NOON + minutes(1), NOON + minutes(3)]


def test_the_newest_open_ones_are_compared(monkeypatch: Any, django_assert_num_queries: Any) -> None:
    monkeypatch.setattr(rejections, "MOST_COMPARED", 2)
    kept = [rejected(WRONG, received_at=NOON + minutes(number)) for number in range(3)]
    record(NOON + minutes(9))

    with django_assert_num_queries(4):  # they are read, and updated in a transaction
        assert note_those_sent_again() == 2
    assert RejectedDelivery.objects.open().get().pk == kept[0].pk
    assert note_those_sent_again() == 1
    with django_assert_num_queries(1):
        assert note_those_sent_again() == 0


def test_on_citus_staff_settle_them(settings: Any) -> None:
    rejected(WRONG)
    record()
    settings.SARTIQ_TASKS = {"DISTRIBUTED": True}

    assert note_those_sent_again() == 0


def test_a_database_that_cannot_be_written_to_leaves_them_open(monkeypatch: Any) -> None:
    rejected(WRONG)
    record()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("read-only")

    monkeypatch.setattr(RejectedDeliveryQuerySet, "update", fail)

    assert note_those_sent_again() == 0


def test_staff_settle_what_is_open_and_open_it_again() -> None:
    kept = rejected()

    assert settle(kept, by="ada")
    kept.refresh_from_db()
    assert (kept.outcome, kept.settled_by) == ("settled", "ada")
    assert kept.settled_at is not None
    assert not settle(kept, by="bob")
    assert RejectedDelivery.objects.get().settled_by == "ada"
    assert reopen(kept)
    kept = RejectedDelivery.objects.get()
    assert (kept.outcome, kept.settled_at, kept.settled_by) == ("open", None, None)
    assert not reopen(kept)


def test_what_was_accepted_is_not_opened_again() -> None:
    kept = rejected(GOOD)
    try_again(kept)

    assert not settle(kept, by="ada")
    assert not reopen(kept)
    assert RejectedDelivery.objects.get().outcome == "tried"


@pytest.mark.parametrize("changes", [{"outcome": "sent"}, {"settled_at": NOON}])
def test_an_outcome_has_its_time(changes: Any) -> None:
    with pytest.raises(IntegrityError):
        rejected(**changes)
