"""Rejected deliveries are kept for a person, bounded, and can be tried again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.exceptions import UnsupportedMediaType

from tasks import rejections
from tasks.exceptions import BodyTooLarge, ContractViolation, IdempotencyConflict
from tasks.models import RejectedDelivery, Task, TaskStatusEvent
from tasks.rejections import (
    MAX_HEADER_LENGTH,
    MAX_START_BYTES,
    count_rejected,
    keep_rejected,
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
    assert (kept.not_kept, kept.accepted_at) == (0, None)
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
    monkeypatch.setattr(rejections.timezone, "now", lambda: NOON)
    rejected()  # another client's
    for _ in range(5):
        assert post(b"[]").status_code == 422
    monkeypatch.setattr(rejections.timezone, "now", lambda: NOON + minutes(1))
    post(b"[]")

    kept = RejectedDelivery.objects.order_by("pk").values_list("source", "not_kept")
    assert [number for source, number in kept if source == "tests"] == [0]
    assert [number for source, number in kept if source != "tests"] == [0, 3, 0]
    assert count_rejected(timedelta(hours=1)) == 7
    assert count_rejected(timedelta(seconds=30)) == 1


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

    recorded = try_again(kept)

    event = TaskStatusEvent.objects.get()
    assert (recorded.event_id, recorded.duplicate) == (event.pk, False)
    assert (event.received_at, event.source, bytes(event.idempotency_key)) == (NOON, "tests", b"a")
    assert Task.objects.get().last_received_at == NOON
    kept.refresh_from_db()
    assert kept.accepted_at > NOON
    assert try_again(kept).duplicate


def test_try_again_without_a_key_stores_it_under_its_digest() -> None:
    assert not try_again(rejected(GOOD)).duplicate
    assert record().duplicate


def test_try_again_of_what_is_wrong_still_says_what_is_wrong_now() -> None:
    kept = rejected(b'{"progress": 101}', status=415, faults=" old ", errors=[])

    with pytest.raises(ContractViolation):
        try_again(kept)

    kept.refresh_from_db()
    assert (kept.status, kept.accepted_at) == (422, None)
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
    assert RejectedDelivery.objects.get().accepted_at is None
