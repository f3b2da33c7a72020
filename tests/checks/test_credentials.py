"""Checks of credentials: a host learns that its senders cannot post before the first one tries."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.checks.credentials import check_addresses, check_credentials, check_scope, check_signatures
from tasks.checks.settings import check_settings
from tests.checks.test_settings import SIGNING_SECRET


@pytest.mark.parametrize(
    ("provider", "codes_"),
    [
        ({"SCOPES": {"read": "Read"}}, ["sartiq_tasks.W002"]),
        ({}, ["sartiq_tasks.W002"]),
        ({"SCOPES": {"tasks:webhook": "Post"}}, []),
        ({"SCOPES_BACKEND_CLASS": "a.backend.of.ones.own"}, []),
    ],
)
def test_the_scope_must_be_known(settings: Any, provider: dict[str, Any], codes_: list[str]) -> None:
    settings.OAUTH2_PROVIDER = provider

    assert [message.id for message in check_scope()] == codes_


@pytest.mark.parametrize("provider", [{}, {"SCOPES": None}, {"SCOPES": {}}])
def test_settings_of_django_oauth_toolkit_without_scopes(settings: Any, provider: Any) -> None:
    settings.OAUTH2_PROVIDER = provider

    assert [message.id for message in check_scope()] == ["sartiq_tasks.W002"]


SIGNATURES = {"SIGNING_SECRETS": {"cluster": [SIGNING_SECRET]}}
SIGNATURE = {"AUTHENTICATION_CLASSES": ["tasks.auth.signatures.SignatureAuthentication"]}


@pytest.mark.parametrize(
    ("given", "expected", "word"),
    [
        ({}, [], ""),
        (SIGNATURE | SIGNATURES, [], ""),
        (SIGNATURES, ["sartiq_tasks.W003"], "no class"),
        (SIGNATURE, ["sartiq_tasks.W003"], "is empty"),
    ],
)
def test_signatures_and_secrets_come_together(
    settings: Any, given: dict[str, Any], expected: list[str], word: str
) -> None:
    settings.SARTIQ_TASKS = given
    messages = check_signatures()

    assert check_settings() == []
    assert [message.id for message in messages] == expected
    assert all(word in str(message.msg) for message in messages)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["rest_framework.authentication.TokenAuthentication"], []),
        (["rest_framework.authentication.SessionAuthentication"], ["sartiq_tasks.W044"]),
        (["tasks.auth.authentication.BearerTokenAuthentication"], []),
    ],
)
def test_other_credentials(settings: Any, classes: list[str], expected: list[str]) -> None:
    settings.SARTIQ_TASKS = {"AUTHENTICATION_CLASSES": classes}

    assert [message.id for message in check_credentials()] == expected


def test_a_user_model_without_permissions(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SARTIQ_TASKS = {"AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"]}
    monkeypatch.setattr("tasks.checks.credentials.get_user_model", lambda: object)

    assert [message.id for message in check_credentials()] == ["sartiq_tasks.W043"]


@pytest.mark.parametrize(
    ("proxies", "throttles", "expected"),
    [
        (None, {}, []),
        (0, {"THROTTLE_FAILURES": "1/min"}, []),
        (2, {"THROTTLE_TOKEN_REQUESTS": "1/min"}, []),
        (None, {"THROTTLE_TOKEN_REQUESTS": "1/min"}, []),
        (-7, {"THROTTLE_TOKEN_REQUESTS": "1/min"}, ["sartiq_tasks.W046"]),
        ("1", {"THROTTLE_FAILURES": "1/min"}, ["sartiq_tasks.W046"]),
        (True, {"THROTTLE_FAILURES": "1/min"}, ["sartiq_tasks.W046"]),
        (["192.0.2.1"], {"THROTTLE_FAILURES": "1/min"}, ["sartiq_tasks.W046"]),
        ("1", {"THROTTLE_DELIVERIES": "1/min", "THROTTLE_FAILURES": None}, []),
    ],
)
def test_addresses_that_cannot_be_told(
    settings: Any, proxies: Any, throttles: dict[str, Any], expected: list[str]
) -> None:
    settings.REST_FRAMEWORK = {"NUM_PROXIES": proxies}
    settings.SARTIQ_TASKS = throttles

    assert [one.id for one in check_addresses()] == expected
