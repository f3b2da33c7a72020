"""``manage.py create_compute_client``."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from tests.conftest import WEBHOOK
from tests.factories import body

pytestmark = pytest.mark.django_db


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command("create_compute_client", *arguments)
    return capsys.readouterr().out


def test_prints_id_and_secret(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "cluster").splitlines()

    assert [line.partition(": ")[0] for line in lines] == ["client_id", "client_secret"]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(shown(capsys, "cluster", "--json"))

    assert list(made) == ["client_id", "client_secret", "access_token"]
    assert json.loads(shown(capsys, "other", "--json", "--token")).keys() == made.keys()


def test_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "cluster", "--token").splitlines()[2].startswith("access_token: ")


def test_its_token_and_its_secret_work(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(shown(capsys, "cluster", "--token", "--json"))

    headers = {"Authorization": f"Bearer {made['access_token']}"}
    answer = Client().post(WEBHOOK, body(), content_type="application/json", headers=headers)
    assert answer.status_code == 200
    form = {"grant_type": "client_credentials"} | {key: made[key] for key in ("client_id", "client_secret")}
    assert Client().post("/api/v1/login/access-token", form).status_code == 200


def test_a_name_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    shown(capsys, "cluster")

    with pytest.raises(CommandError, match="Choose another name"):
        shown(capsys, "cluster")
