"""The cluster of a host's tests posts through the view, as one in production does."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tasks.auth.clients import compute_client
from tasks.models import Task, TaskStatusEvent
from tasks.testing import Compute, event_body, make_token
from tests import factories

pytestmark = pytest.mark.django_db
SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"


def test_it_posts_what_is_changed_with_one_token(compute: Compute) -> None:
    first = compute.post(task_id="t1", status="failed")
    again = compute.post(task_id="t1", status="failed")
    compute.post(event_body(task_id="t2"), progress=50)

    assert (first.json()["duplicate"], again.json()["duplicate"]) == (False, True)  # type: ignore[attr-defined]
    assert set(Task.objects.values_list("task_id", "progress")) == {("t1", 5.0), ("t2", 50.0)}
    assert set(TaskStatusEvent.objects.values_list("source", flat=True)) == {"compute"}
    assert compute_client("compute").pk is not None


def test_an_answer_that_is_not_expected_says_itself(compute: Compute) -> None:
    compute.post(progress=101, expect=422)
    compute.post(b"{", expect=422)
    with pytest.raises(AssertionError, match=r"422, not 200: .*less than or equal to 100"):
        compute.post(progress=101)


def test_behind_a_redirect_to_https(compute: Compute, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT, settings.SECURE_REDIRECT_EXEMPT = True, []

    compute.post()


def test_headers_of_its_own() -> None:
    token = factories.token(user=factories.user("view_task"))

    Compute(headers={"Authorization": f"Bearer {token}"}).post(expect=403)
    Compute(headers={}).post(expect=401)


@pytest.mark.parametrize("name", ["SignatureAuthentication", "SignedTokenAuthentication"])
def test_it_signs_if_there_is_a_secret(name: str, compute: Compute, settings: Any) -> None:
    settings.SARTIQ_TASKS = {
        "AUTHENTICATION_CLASSES": [f"tasks.auth.signatures.{name}"],
        "SIGNING_SECRETS": {"cluster-eu": [SECRET]},
    }
    compute.post()

    source = "cluster-eu" if name == "SignatureAuthentication" else "compute"
    assert TaskStatusEvent.objects.get().source == source


def test_tokens_of_one_client() -> None:
    tokens = {make_token("mine"), make_token("mine"), make_token()}

    assert len(tokens) == 3
    assert compute_client("mine").name == "mine"
