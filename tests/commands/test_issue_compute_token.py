"""``manage.py issue_compute_token``."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from oauth2_provider.models import get_access_token_model, get_application_model

from tasks.auth.clients import create_compute_client, issue_token
from tests.conftest import WEBHOOK
from tests.factories import full_body

pytestmark = pytest.mark.django_db


def test_another_token_of_a_client(capsys: pytest.CaptureFixture[str]) -> None:
    client, _ = create_compute_client("my-cluster")
    first = issue_token(client)
    call_command("issue_compute_token", "my-cluster")
    second = capsys.readouterr().out.strip()

    assert second != first
    for number, token in enumerate((first, second)):
        sender = Client(headers={"Authorization": f"Bearer {token}"})
        body = full_body() | {"task_id": f"task-{number}"}
        assert sender.post(WEBHOOK, body, content_type="application/json").status_code == 200


@pytest.mark.parametrize("name", ["another", "My-cluster", "", "a page of the host"])
def test_a_client_that_does_not_exist(name: str) -> None:
    create_compute_client("my-cluster")
    get_application_model().objects.create(
        name="a page of the host", client_type="public", authorization_grant_type="authorization-code"
    )
    with pytest.raises(CommandError, match="There is no client named"):
        call_command("issue_compute_token", name)

    assert not get_access_token_model().objects.exists()
