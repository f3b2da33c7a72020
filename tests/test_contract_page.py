"""docs/contract.md against the code: each answer, what a sender does then, and what the original did."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from rest_framework import exceptions as drf
from rest_framework.exceptions import APIException

from tasks import exceptions
from tasks.wire.body import check_media_type
from tests.factories import body, client_token

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "contract.md").read_text()
DIFFERENCES = [
    json.loads(line) for line in (ROOT / "tests/contract/differences.jsonl").read_text().splitlines()
]


def rows(title: str) -> list[list[str]]:
    """Return the cells of the tables under a heading, without their heads."""
    part = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if re.match(r"\| (\d{3}|[^-])", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


ANSWERS = [row for row in rows("The answers") if row[0].isdecimal()]


def own_exceptions() -> list[type[APIException]]:
    found = [value for value in vars(exceptions).values() if isinstance(value, type)]
    return [one for one in found if issubclass(one, APIException) and one.__module__ == exceptions.__name__]


def test_every_answer_of_the_code_is_in_the_table() -> None:
    of_drf: set[type[APIException]] = {
        drf.NotAuthenticated,
        drf.PermissionDenied,
        drf.MethodNotAllowed,
        drf.UnsupportedMediaType,
        drf.Throttled,
    }
    statuses = {one.status_code for one in {*own_exceptions(), *of_drf}}

    assert {int(row[0]) for row in ANSWERS} == {200, 500} | statuses


def test_every_answer_of_the_document_is_in_the_table() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    responses = document["paths"]["/api/v1/tasks/webhook"]["post"]["responses"]

    assert set(responses) <= {row[0] for row in ANSWERS}


def test_every_answer_of_the_token_endpoint_is_in_its_table() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    responses = document["paths"]["/api/v1/login/access-token"]["post"]["responses"]

    named = {status for row in rows("Tokens") for status in re.findall(r"\d{3}", row[0])}
    assert named == set(responses) - {"200"}


def test_what_is_about_the_event_is_final_and_the_sender_of_the_docs_knows_it() -> None:
    """A person can put right a wrong address or client, so that the same event is taken."""
    final = {row[0] for row in ANSWERS if row[3] == "no" and row[0] != "200"}
    rule = re.search(r"\n\*\*200: done\..*?\. ([\d, or]+): never send it again unchanged", PAGE)
    code = re.search(r"^FINAL = {(.*)}$", (ROOT / "docs" / "how-to-send.md").read_text(), flags=re.MULTILINE)
    document = Client().get("/api/v1/openapi.json").json()
    responses = document["paths"]["/api/v1/tasks/webhook"]["post"]["responses"]
    not_again = {status for status, one in responses.items() if "Do not send it again" in one["description"]}

    assert rule
    assert code
    assert set(re.findall(r"\d{3}", rule[1])) == set(re.findall(r"\d{3}", code[1])) == final
    assert not_again == final - {"422"}


def test_what_carries_retry_after_is_to_be_sent_again() -> None:
    waiting = {one.status_code for one in own_exceptions() if hasattr(one, "wait")} | {
        drf.Throttled.status_code
    }

    assert {int(row[0]) for row in ANSWERS if "Retry-After" in row[3]} == waiting


def test_what_is_kept_for_another_try_is_never_to_be_sent_again() -> None:
    from tasks.rejections import REJECTIONS

    kept = {str(one.status_code) for one in REJECTIONS}

    assert kept
    assert {row[3] for row in ANSWERS if row[0] in kept} == {"no"}


@pytest.mark.django_db
@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda one: one["what"])
def test_a_difference_from_the_original(difference: dict[str, Any]) -> None:
    raw = bytes.fromhex(difference["hex"]) if "hex" in difference else difference["body"].encode()
    content_type = difference.get("content_type", "application/json")
    client = Client(headers={"Authorization": f"Bearer {client_token()}"})

    answer = client.post("/api/v1/tasks/webhook", raw, content_type=content_type)

    assert difference["here"] != difference["there"]
    assert answer.status_code == difference["here"]


def documented_examples() -> list[tuple[str, str, int]]:
    """Return what a row of the tables gives as an example of a date-time or progress, and the status here."""
    found = []
    for row in rows("What differs from the original"):
        if len(row) != 4 or not re.match(r"\d{3}", row[3]):
            continue
        field = (
            "progress"
            if "progress" in row[0]
            else "timestamp"
            if "time" in row[0] or "epoch" in row[0]
            else ""
        )
        field = "timestamp" if row[0].startswith(("an offset", "a comma", "a leap")) else field
        if field:
            found += [(field, example, int(row[3][:3])) for example in re.findall(r"`([^`]+)`", row[1])]
    return found


@pytest.mark.django_db
@pytest.mark.parametrize(("field", "example", "status"), documented_examples())
def test_an_example_of_the_page(field: str, example: str, status: int) -> None:
    client = Client(headers={"Authorization": f"Bearer {client_token()}"})

    answer = client.post(
        "/api/v1/tasks/webhook", body(**{field: json.loads(example)}), content_type="application/json"
    )

    assert answer.status_code == status


def test_a_body_without_a_media_type_is_taken_for_json() -> None:
    check_media_type("")
