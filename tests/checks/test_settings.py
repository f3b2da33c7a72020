"""Each setting that cannot work has an error of its own."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from django.core.checks import run_checks

from tasks.checks.settings import check_probe, check_settings
from tasks.conf import SETTINGS, AppSettings

SIGNING_SECRET = "whsec_" + "QUJD" * 10


def codes(settings: Any, value: Any) -> list[str | None]:
    settings.SARTIQ_TASKS = value
    return [message.id for message in check_settings()]


def test_no_setting_at_all(settings: Any) -> None:
    assert codes(settings, {}) == []


def test_every_setting_has_a_check_of_its_own() -> None:
    assert {key.lower() for key in SETTINGS} == set(AppSettings.__dataclass_fields__)
    assert len({one.metadata["code"] for one in SETTINGS.values()}) == len(SETTINGS)


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
        ("PERMISSION_CLASSES", ["tasks.auth.permissions.NoSuchClass"], "E007"),
        ("SILENT_AFTER", 900, "E030"),
        ("SILENT_AFTER", None, "E030"),
        ("SILENT_AFTER", {"training": timedelta(minutes=1)}, "E030"),
        ("SILENT_AFTER", {"*": 900}, "E030"),
        ("SILENT_AFTER", {"*": None, "training": timedelta(seconds=-1)}, "E030"),
        ("SILENT_AFTER", {"*": None, 5: None}, "E030"),
        ("QUEUED_AFTER", 900, "E031"),
        ("LOST_AFTER", timedelta(), "E032"),
        ("LOST_AFTER", 900, "E032"),
        ("PROBE", 5, "E033"),
        ("PROBE", "no.such.function", "E033"),
        ("PROBE", "tasks.conf.COLUMN_LENGTH", "E033"),
        ("PROBE_URL", "ftp://cluster", "E034"),
        ("PROBE_URL", "http://", "E034"),
        ("PROBE_URL", "http://cluster/a b", "E034"),
        ("PROBE_URL", "http://cluster/#jobs", "E034"),
        ("PROBE_URL", 5, "E034"),
        ("PROBE_TOKEN", "", "E035"),
        ("PROBE_TOKEN", "a\nb", "E035"),
        ("PROBE_TOKEN", 5, "E035"),
        ("PROBE_TIMEOUT", 10, "E036"),
        ("PROBE_TIMEOUT", timedelta(), "E036"),
        ("SCOPE", "", "E008"),
        ("SCOPE", None, "E008"),
        ("SIGNING_SECRETS", ["whsec_"], "E020"),
        ("SIGNING_SECRETS", {"": []}, "E020"),
        ("SIGNING_SECRETS", {"a": SIGNING_SECRET}, "E020"),
        ("SIGNING_SECRETS", {"a": [SIGNING_SECRET.removeprefix("whsec_")]}, "E020"),
        ("SIGNING_SECRETS", {"a": ["whsec_c2hvcnQ="]}, "E020"),
        ("SIGNING_SECRETS", {"a": ["whsec_no base64"]}, "E020"),
        ("SIGNING_SECRETS", {"a": ["whsec_" + b64encode(b"x" * 23).decode()]}, "E020"),
        ("SIGNING_SECRETS", {"a": ["whsec_" + b64encode(b"x" * 65).decode()]}, "E020"),
        ("SIGNING_SECRETS", {"a": [None]}, "E020"),
        ("THROTTLE_DELIVERIES", 600, "E021"),
        ("THROTTLE_DELIVERIES", "0/min", "E021"),
        ("THROTTLE_FAILURES", "600", "E022"),
        ("THROTTLE_FAILURES", "600/fortnight", "E022"),
        ("THROTTLE_TOKEN_REQUESTS", "many/min", "E023"),
        ("THROTTLE_CACHE", "nowhere", "E024"),
        ("THROTTLE_CACHE", None, "E024"),
        ("METRICS_TOKEN", "too short", "E025"),
        ("METRICS_TOKEN", "\N{LATIN SMALL LETTER E WITH ACUTE}" * 20, "E025"),
        ("METRICS_TOKEN", True, "E025"),
        ("REJECTED_RETENTION", 30, "E013"),
        ("REJECTED_PER_MINUTE", -1, "E014"),
        ("HANDLER_ATTEMPTS", 0, "E015"),
        ("HANDLER_ATTEMPTS", "10", "E015"),
        ("HANDLER_ATTEMPTS", True, "E015"),
        ("HANDLER_LEASE", 60, "E016"),
        ("HANDLER_LEASE", timedelta(), "E016"),
        ("HANDLER_POLL", 0.2, "E017"),
        ("HANDLER_POLL", timedelta(), "E017"),
        ("HANDLER_RETENTION", 30, "E018"),
        ("HANDLER_RETENTION", timedelta(days=-1), "E018"),
        ("DATABASE_TIMEOUT", 20, "E009"),
        ("DISTRIBUTED", "on", "E060"),
        ("DISTRIBUTED", 1, "E060"),
    ],
)
def test_bad(settings: Any, key: str, value: Any, code: str) -> None:
    assert codes(settings, {key: value}) == [f"sartiq_tasks.{code}"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SIGNING_SECRETS", {"a": ["whsec_" + b64encode(b"x" * length).decode() for length in (24, 64)]}),
        ("STATUSES", {"running": ("baking",), "failed": []}),
        ("CLOCK_TOLERANCE", timedelta()),
        ("MAX_STRING_LENGTH", 1),
        ("DATABASE_TIMEOUT", None),
        ("DISTRIBUTED", True),
        ("DATABASE_TIMEOUT", timedelta(seconds=1)),
        ("SILENT_AFTER", timedelta()),
        ("SILENT_AFTER", {"training": timedelta(minutes=1), "*": None}),
        ("QUEUED_AFTER", None),
        ("QUEUED_AFTER", timedelta(hours=1)),
        ("LOST_AFTER", None),
        ("LOST_AFTER", timedelta(hours=6)),
        ("PROBE", None),
        ("PROBE", print),
        ("PROBE", "tasks.conf.normalise"),
        ("PROBE_URL", "https://cluster.example.org/api/jobs?all=1"),
        ("PROBE_TIMEOUT", timedelta(seconds=1)),
        ("PERMISSION_CLASSES", []),
        ("THROTTLE_DELIVERIES", "10/s"),
        ("THROTTLE_FAILURES", None),
        ("METRICS_TOKEN", "a-token-for-prometheus"),
    ],
)
def test_valid_values(settings: Any, key: str, value: Any) -> None:
    assert codes(settings, {key: value}) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"PROBE": print, "PROBE_URL": "http://cluster"}, "both set"),
        ({"PROBE_TOKEN": "secret"}, "nothing sends it"),
        ({"PROBE_TOKEN": "secret", "PROBE": print}, "nothing sends it"),
        ({"PROBE_URL": "http://cluster", "PROBE_TOKEN": "secret"}, None),
        ({"PROBE": print}, None),
        ({}, None),
        ("no dict", None),
    ],
)
def test_one_way_to_ask_the_cluster(settings: Any, given: Any, words: str | None) -> None:
    settings.SARTIQ_TASKS = given

    messages = check_probe()

    assert [message.id for message in messages] == (["sartiq_tasks.W030"] if words else [])
    assert all(str(words) in message.msg and "secret" not in message.msg for message in messages)


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
    ("key", "value", "extra"),
    [
        ("SIGNING_SECRETS", {"a": [SIGNING_SECRET]}, "sartiq-tasks[signatures]"),
        ("METRICS_TOKEN", "a-token-for-prometheus", "sartiq-tasks[metrics]"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(
    settings: Any, monkeypatch: pytest.MonkeyPatch, key: str, value: Any, extra: str
) -> None:
    monkeypatch.setattr("tasks.judgements.find_spec", lambda name: None)
    settings.SARTIQ_TASKS = {key: value}
    (message,) = check_settings()

    assert extra in str(message.msg)


@pytest.mark.parametrize("value", [{"a": ["whsec_hush"]}, "whsec_hush"])
@pytest.mark.parametrize("key", ["SIGNING_SECRETS", "METRICS_TOKEN"])
def test_a_secret_is_not_shown_even_where_it_is_wrong(settings: Any, key: str, value: Any) -> None:
    settings.SARTIQ_TASKS = {key: value}
    (message,) = check_settings()

    assert "hush" not in str(message.msg)
    assert "hush" not in repr(AppSettings(signing_secrets={"a": ("hush",)}, metrics_token="hush"))


NONSENSE: list[Any] = [
    None, True, False, 0, -1, 1.5, float("nan"), "", ".", "..", "x", "a.b", "\0", b"x", [], [None], ["."],
    [""], ["x"], [["x"]], (), {}, {"x": "y"}, {1: 2}, {"": None}, {"queued": None}, set(), object(), object,
    timedelta(days=-1), lambda: None,
]  # fmt: skip


@pytest.mark.parametrize("key", [*SETTINGS, "NO_SUCH_KEY", 5, None])
def test_no_value_ends_the_checks_in_a_traceback(settings: Any, key: Any) -> None:
    for value in NONSENSE:
        settings.SARTIQ_TASKS = {key: value}
        for message in run_checks(tags=["sartiq_tasks"]):
            assert "\n" not in message.msg


@pytest.mark.django_db
@pytest.mark.parametrize("key", [*SETTINGS, "NO_SUCH_KEY", 5, None])
def test_the_checks_of_databases_leave_wrong_values_to_the_others(settings: Any, key: Any) -> None:
    """``migrate`` runs only these."""
    for value in (*({key: one} for one in NONSENSE), *NONSENSE):
        settings.SARTIQ_TASKS = value
        run_checks(tags=["database"], databases=["default"])


@pytest.mark.parametrize("value", [one for one in NONSENSE if not isinstance(one, dict)])
def test_a_setting_that_is_not_a_dict_is_one_error(settings: Any, value: Any) -> None:
    settings.SARTIQ_TASKS = value

    assert [one.id for one in run_checks(tags=["sartiq_tasks"])].count("sartiq_tasks.E010") == 1


@pytest.mark.parametrize(
    "path", [".", "tests.checks.test_settings.raises_on_import.Class", "tests.checks.test_settings.codes"]
)
def test_a_class_that_cannot_be_used_is_named(settings: Any, path: str) -> None:
    settings.SARTIQ_TASKS = {"AUTHENTICATION_CLASSES": [path]}
    (message,) = check_settings()

    assert message.id == "sartiq_tasks.E006"
