"""Each setting that cannot work has an error of its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tasks.checks import _JUDGEMENTS, check_scope, check_settings
from tasks.conf import AppSettings


def codes(settings: Any, value: Any) -> list[str | None]:
    settings.SARTIQ_TASKS = value
    return [message.id for message in check_settings()]


def test_no_setting_at_all(settings: Any) -> None:
    assert codes(settings, {}) == []


def test_every_setting_has_a_check_of_its_own() -> None:
    assert {key.lower() for key in _JUDGEMENTS} == set(AppSettings.__dataclass_fields__)
    assert len({code for code, _ in _JUDGEMENTS.values()}) == len(_JUDGEMENTS)


def test_the_defaults_pass_their_own_checks(settings: Any) -> None:
    assert codes(settings, {key.upper(): value for key, value in vars(AppSettings()).items()}) == []


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("STATUSES", [], "E001"),
        ("STATUSES", {"unheard-of": ["a"]}, "E001"),
        ("STATUSES", {"running": "running"}, "E001"),
        ("STATUSES", {"running": 5}, "E001"),
        ("STATUSES", {"running": [5]}, "E001"),
        ("CLOCK_TOLERANCE", 300, "E002"),
        ("CLOCK_TOLERANCE", timedelta(seconds=-1), "E002"),
        ("MAX_BODY_BYTES", 0, "E003"),
        ("MAX_BODY_BYTES", "1", "E003"),
        ("MAX_BODY_BYTES", True, "E003"),
        ("MAX_NESTING", 0, "E004"),
        ("MAX_NESTING", 100_000, "E004"),
        ("MAX_STRING_LENGTH", 256, "E005"),
        ("MAX_STRING_LENGTH", 1.5, "E005"),
        ("AUTHENTICATION_CLASSES", "rest_framework.authentication.BasicAuthentication", "E006"),
        ("AUTHENTICATION_CLASSES", ["no.such.Class"], "E006"),
        ("PERMISSION_CLASSES", [object], "E007"),
        ("PERMISSION_CLASSES", ["tasks.permissions.NoSuchClass"], "E007"),
        ("SCOPE", "", "E008"),
        ("SCOPE", None, "E008"),
        ("DATABASE_TIMEOUT", 20, "E009"),
        ("TOKEN_CACHE", 5, "E012"),
        ("TOKEN_CACHE", timedelta(seconds=-1), "E012"),
    ],
)
def test_bad(settings: Any, key: str, value: Any, code: str) -> None:
    assert codes(settings, {key: value}) == [f"sartiq_tasks.{code}"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("STATUSES", {"running": ("baking",), "failed": []}),
        ("CLOCK_TOLERANCE", timedelta()),
        ("MAX_STRING_LENGTH", 1),
        ("DATABASE_TIMEOUT", None),
        ("DATABASE_TIMEOUT", timedelta(seconds=1)),
        ("PERMISSION_CLASSES", []),
    ],
)
def test_good(settings: Any, key: str, value: Any) -> None:
    assert codes(settings, {key: value}) == []


def test_a_key_that_is_not_known_names_those_that_are(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"MAX_NESTLING": 7}
    (message,) = check_settings()

    assert message.id == "sartiq_tasks.W001"
    assert "MAX_NESTING" in str(message.hint)


def test_not_a_dict(settings: Any) -> None:
    assert codes(settings, ["MAX_NESTING"]) == ["sartiq_tasks.E010"]


def test_times_need_time_zones(settings: Any) -> None:
    settings.USE_TZ = False

    assert codes(settings, {}) == ["sartiq_tasks.E011"]


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
