"""Signed deliveries: Standard Webhooks, alone, beside a token and with one."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tasks.auth.signatures import signer_of
from tasks.models import TaskStatusEvent
from tasks.testing import signed_headers
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body

pytestmark = pytest.mark.django_db

OLD, NEW, OTHER = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"o", b"n", b"x"))
SIGNATURE = "tasks.auth.signatures.SignatureAuthentication"
TOKEN = "tasks.auth.authentication.BearerTokenAuthentication"
BOTH = "tasks.auth.signatures.SignedTokenAuthentication"
CONTENT = json.dumps(body()).encode()
INVALID = (401, {"detail": "Could not validate credentials"})
NONE_AT_ALL = (401, {"detail": "Not authenticated"})


@pytest.fixture
def signing(settings: Any) -> None:
    settings.SARTIQ_TASKS = {
        "AUTHENTICATION_CLASSES": [SIGNATURE],
        "SIGNING_SECRETS": {"cluster-eu": [NEW, OLD]},
    }


def signed(content: bytes = CONTENT, secret: str = NEW, id_: str = "msg-1", age: float = 0) -> dict[str, str]:
    return signed_headers(content, secret, message_id=id_, at=datetime.now(UTC) - timedelta(seconds=age))


def post(headers: dict[str, str], content: bytes = CONTENT) -> HttpResponse:
    return Client().post(WEBHOOK, content, content_type="application/json", headers=headers)  # type: ignore[return-value]


def answer(response: Any) -> tuple[int, Any]:
    return response.status_code, response.json()


@pytest.mark.parametrize("secret", [NEW, OLD])
@pytest.mark.usefixtures("signing")
def test_any_of_the_secrets_lets_in_so_that_one_can_take_anothers_place(secret: str) -> None:
    response = post(signed(secret=secret))

    event = TaskStatusEvent.objects.get()
    assert answer(response) == (200, {"id": event.pk, "task_id": "task-1", "duplicate": False})
    assert (event.source, bytes(event.idempotency_key)) == ("cluster-eu", b"msg-1")


@pytest.mark.usefixtures("signing")
def test_one_good_signature_among_several_suffices() -> None:
    headers = signed()
    headers["webhook-signature"] = f"v1,{'A' * 43}= v2,unknown {headers['webhook-signature']}"

    assert post(headers).status_code == 200


@pytest.mark.parametrize(("age", "status"), [(290, 200), (-290, 200), (310, 401), (-310, 401)])
@pytest.mark.usefixtures("signing")
def test_five_minutes_of_tolerance(age: float, status: int) -> None:
    assert post(signed(age=age)).status_code == status


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": "msg-2"},
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e400"},
        {"webhook-timestamp": "yesterday"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,garbage"},
        {"webhook-signature": "v1,\u00e9"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,a,b"},
        {"webhook-signature": ",,, ,"},
        {"webhook-signature": "v1a,AAAA"},
    ],
)
@pytest.mark.usefixtures("signing")
def test_an_invalid_signature(changes: dict[str, str]) -> None:
    assert answer(post(signed() | changes)) == INVALID
    assert not TaskStatusEvent.objects.exists()


@pytest.mark.usefixtures("signing")
def test_a_secret_that_is_not_ours_and_a_body_that_was_changed() -> None:
    assert answer(post(signed(secret=OTHER))) == INVALID
    assert answer(post(signed(), CONTENT.replace(b"5", b"6"))) == INVALID
    assert answer(post(signed(), b"\xff" + CONTENT)) == INVALID


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.usefixtures("signing")
def test_each_header_is_needed(header: str) -> None:
    response = post(signed() | {header: ""})

    assert answer(response) == NONE_AT_ALL
    assert response["WWW-Authenticate"] == "StandardWebhooks"


@pytest.mark.usefixtures("signing")
def test_the_signature_is_judged_before_the_body_is_parsed() -> None:
    assert answer(post(signed() | {"webhook-id": "other"}, b"{not json")) == INVALID
    assert post(signed(b"{not json"), b"{not json").status_code == 422


def test_no_more_of_the_body_is_read_than_the_limit(settings: Any) -> None:
    settings.SARTIQ_TASKS = {
        "AUTHENTICATION_CLASSES": [SIGNATURE],
        "SIGNING_SECRETS": {"a": [NEW]},
        "MAX_BODY_BYTES": len(CONTENT) - 1,
    }

    assert post(signed()).status_code == 413


@pytest.mark.usefixtures("signing")
def test_a_replay_is_a_duplicate_even_under_an_idempotency_key_that_nobody_signed() -> None:
    headers = signed()
    answers = [post(headers), post(headers), post(headers | {"Idempotency-Key": "another"})]

    assert [json.loads(response.content)["duplicate"] for response in answers] == [False, True, True]
    assert TaskStatusEvent.objects.get().deliveries == 3


@pytest.mark.parametrize(
    ("classes", "with_token", "with_signature", "expected"),
    [
        ([SIGNATURE], True, False, 401),
        ([SIGNATURE], False, True, 200),
        ([TOKEN], False, True, 401),
        ([TOKEN, SIGNATURE], True, False, 200),
        ([TOKEN, SIGNATURE], False, True, 200),
        ([TOKEN, SIGNATURE], False, False, 401),
        ([BOTH], True, True, 200),
        ([BOTH], True, False, 401),
        ([BOTH], False, True, 401),
    ],
)
def test_alone_or_together(
    settings: Any, classes: list[str], with_token: bool, with_signature: bool, expected: int
) -> None:
    settings.SARTIQ_TASKS = {"AUTHENTICATION_CLASSES": classes, "SIGNING_SECRETS": {"cluster-eu": [NEW]}}
    token = {"Authorization": f"Bearer {factories.client_token()}"} if with_token else {}
    signature = signed() if with_signature else {}

    response = post(token | signature)

    assert response.status_code == expected
    if expected == 401:
        assert answer(response) == NONE_AT_ALL


def test_beside_a_token_a_signature_changes_neither_the_sender_nor_the_scope(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"AUTHENTICATION_CLASSES": [BOTH], "SIGNING_SECRETS": {"cluster-eu": [NEW]}}
    good = {"Authorization": f"Bearer {factories.client_token()}"}
    scopeless = {"Authorization": f"Bearer {factories.token(scope='read')}"}

    assert post(good | signed()).status_code == 200
    assert TaskStatusEvent.objects.get().source.startswith("cluster-")
    assert TaskStatusEvent.objects.get().source != "cluster-eu"
    assert post(scopeless | signed()).status_code == 403
    assert answer(post(good | signed(secret=OTHER))) == INVALID


@given(st.binary(max_size=50), st.text(max_size=50), st.text(max_size=50), st.text(max_size=80))
def test_no_header_and_no_body_make_it_fail(content: bytes, id_: str, timestamp: str, signature: str) -> None:
    now = str(int(datetime.now(UTC).timestamp()))
    for at in (timestamp, now):
        headers = {"webhook-id": id_, "webhook-timestamp": at, "webhook-signature": f"v1,{signature}"}
        assert signer_of(content, headers, {"a": (NEW,)}) is None


@pytest.mark.parametrize(
    ("classes", "schemes"),
    [([SIGNATURE], {"StandardWebhooks"}), ([BOTH], {"StandardWebhooks", "OAuth2PasswordBearer"})],
)
def test_the_openapi_document_tells_the_scheme(settings: Any, classes: list[str], schemes: set[str]) -> None:
    settings.SARTIQ_TASKS = {"AUTHENTICATION_CLASSES": classes, "SIGNING_SECRETS": {"a": [NEW]}}

    document = Client().get("/api/v1/openapi.json").json()

    assert set(document["components"]["securitySchemes"]) == schemes
    assert document["paths"]["/api/v1/tasks/webhook"]["post"]["security"][0].keys() == schemes


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("signing")
def test_what_the_documentation_tells_a_sender(live_server: Any) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to-sign.md").read_text()
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "requests.post" in block
    )
    names: dict[str, Any] = {"URL": f"{live_server}{WEBHOOK}", "SECRET": NEW}

    exec(code, names)

    assert names["answer"].json()["duplicate"] is False
    assert bytes(TaskStatusEvent.objects.get().idempotency_key).decode() == names["message_id"]
