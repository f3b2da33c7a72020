"""The password form is a part of the contract, whatever else uses django-oauth-toolkit in the process."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection
from django.test import Client
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.views import TokenView

FORM = {"username": "ada", "password": "pass"}
PASSWORD_GRANT = "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT"

pytestmark = pytest.mark.django_db


class HostsValidator(OAuth2Validator):
    """Lets one of the host's users in, and nobody else."""

    def validate_user(self, username: str, *args: Any, **kwargs: Any) -> bool:
        return username == "ada" and super().validate_user(username, *args, **kwargs)


@pytest.fixture(autouse=True)
def _users() -> None:
    for name in ("ada", "bob"):
        get_user_model().objects.create_user(name, password="pass")


def log_in(**changes: str) -> int:
    return Client().post("/api/v1/login/access-token", FORM | changes).status_code


def test_it_warns_of_nothing() -> None:
    assert log_in() == 200  # warnings are errors here


def test_it_is_its_own_after_the_hosts_view_was_used() -> None:
    TokenView.get_oauthlib_core()

    assert log_in() == 200
    assert TokenView.get_validator_class() is OAuth2Validator


def test_a_project_that_forbids_it(settings: Any) -> None:
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {PASSWORD_GRANT: True}

    assert log_in() == 400


def test_the_validator_of_the_project_has_its_say(settings: Any) -> None:
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {
        "OAUTH2_VALIDATOR_CLASS": f"{__name__}.HostsValidator"
    }

    assert (log_in(), log_in(username="bob")) == (200, 400)


@pytest.mark.parametrize("query", ["%", "&&&", "x=%zz", "grant_type=password"])
def test_a_query_is_rejected_whatever_it_is(query: str) -> None:
    answer = Client().post(f"/api/v1/login/access-token?{query}", {"username": "a", "password": "b"})

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("name", ["username", "client_id"])
def test_a_name_that_the_database_cannot_hold_is_the_senders_fault(name: str) -> None:
    """PostgreSQL's text has no U+0000: the question for it fails. SQLite finds nobody of that name."""
    assert log_in(**{name: "ada\0"}) in {400, 401}


def test_while_the_database_fails_the_sender_is_told_to_ask_again(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*args: Any) -> Any:
        raise OperationalError("out of disk")

    with connection.execute_wrapper(fail):
        answer = Client().post("/api/v1/login/access-token", FORM)

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("sartiq_tasks.auth", "ERROR")
    assert record.getMessage() == "The database failed a request for a token: 'out of disk'"
    assert record.exc_info
