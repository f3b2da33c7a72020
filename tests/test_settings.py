"""The project's settings: from the environment alone, and safe where it says nothing."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEPLOYED = {"SECRET_KEY": secrets.token_urlsafe(50), "ALLOWED_HOSTS": "tasks.example.org"}
SIGNING_SECRETS = {"cluster": ["whsec_" + "QUJD" * 10]}


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python with nothing in the environment but ``env``."""
    return subprocess.run(
        [sys.executable, *command],
        env={"PATH": os.environ["PATH"], **env},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def settings_of(**env: str) -> dict[str, Any]:
    """Return the settings that the environment ``env`` makes, as JSON can show them."""
    code = "import json, sartiq_tasks.settings as s; print(json.dumps(vars(s), default=str, skipkeys=True))"
    result = run("-c", code, **(DEPLOYED | env))
    assert result.returncode == 0, result.stderr
    settings: dict[str, Any] = json.loads(result.stdout)
    return settings


def test_without_a_secret_key_nothing_starts() -> None:
    result = run("-c", "import sartiq_tasks.settings", ALLOWED_HOSTS="tasks.example.org")

    assert result.returncode != 0
    assert "Set the SECRET_KEY environment variable" in result.stderr


def test_safe_where_the_environment_says_nothing() -> None:
    settings = settings_of()

    assert settings["DEBUG"] is False
    assert settings["ALLOWED_HOSTS"] == ["tasks.example.org"]
    for name in (
        "SECURE_SSL_REDIRECT",
        "SECURE_HSTS_INCLUDE_SUBDOMAINS",
        "SESSION_COOKIE_SECURE",
        "CSRF_COOKIE_SECURE",
        "CSRF_COOKIE_HTTPONLY",
    ):
        assert settings[name] is True, name
    assert settings["SECURE_HSTS_SECONDS"] == 31_536_000
    assert settings["SARTIQ_TASKS"]["METRICS_TOKEN"] is None
    assert settings["SARTIQ_TASKS"]["SIGNING_SECRETS"] == {}
    assert settings["SARTIQ_TASKS"]["THROTTLE_DELIVERIES"] is None
    assert settings["REST_FRAMEWORK"]["NUM_PROXIES"] == 1


def test_no_host_is_served_that_was_not_named() -> None:
    assert settings_of(ALLOWED_HOSTS="")["ALLOWED_HOSTS"] == []


def test_plain_http_on_a_developers_machine() -> None:
    settings = settings_of(HTTPS="off")

    assert settings["SECURE_SSL_REDIRECT"] is settings["SESSION_COOKIE_SECURE"] is False
    assert settings["SECURE_HSTS_SECONDS"] == 0
    assert settings["SECURE_PROXY_SSL_HEADER"] is None
    assert settings["REST_FRAMEWORK"]["NUM_PROXIES"] == 0


def test_a_secret_key_can_be_replaced_without_ending_sessions() -> None:
    assert settings_of(SECRET_KEY_FALLBACKS="old,older")["SECRET_KEY_FALLBACKS"] == ["old", "older"]


@pytest.mark.parametrize(
    ("way", "classes"),
    [
        ("token", ["authentication.BearerTokenAuthentication"]),
        ("signature", ["signatures.SignatureAuthentication"]),
        ("either", ["authentication.BearerTokenAuthentication", "signatures.SignatureAuthentication"]),
        ("both", ["signatures.SignedTokenAuthentication"]),
    ],
)
def test_how_a_sender_says_who_it_is(way: str, classes: list[str]) -> None:
    env = {"AUTHENTICATION": way, "SIGNING_SECRETS": json.dumps(SIGNING_SECRETS)}
    given = settings_of(**env)["SARTIQ_TASKS"]

    assert given["AUTHENTICATION_CLASSES"] == [f"tasks.auth.{path}" for path in classes]
    assert given["SIGNING_SECRETS"] == SIGNING_SECRETS


def test_another_way_is_rejected_at_the_start() -> None:
    result = run("-c", "import sartiq_tasks.settings", AUTHENTICATION="none", **DEPLOYED)

    assert result.returncode != 0
    assert "Invalid value: none" in result.stderr


def test_limits_and_metrics() -> None:
    given = settings_of(
        THROTTLE_DELIVERIES="600/min",
        THROTTLE_FAILURES="",
        THROTTLE_TOKEN_REQUESTS="5/s",
        METRICS_TOKEN="a-token-for-prometheus",
    )["SARTIQ_TASKS"]

    assert given["THROTTLE_DELIVERIES"] == "600/min"
    assert given["THROTTLE_FAILURES"] is None
    assert given["THROTTLE_TOKEN_REQUESTS"] == "5/s"
    assert given["METRICS_TOKEN"] == "a-token-for-prometheus"


@pytest.mark.parametrize("url", ["sqlite:////tmp/db.sqlite3", "postgres://user:password@host/name"])
def test_connections_live_on_unless_the_environment_or_the_url_says_otherwise(url: str) -> None:
    def age(**env: str) -> Any:
        return settings_of(**env)["DATABASES"]["default"]["CONN_MAX_AGE"]

    assert age(DATABASE_URL=url) is None
    assert age(DATABASE_URL=url, CONN_MAX_AGE="60") == 60
    assert age(DATABASE_URL=f"{url}?CONN_MAX_AGE=30", CONN_MAX_AGE="60") == 30


def test_a_deployment_passes_djangos_checks() -> None:
    env = {"AUTHENTICATION": "either", "SIGNING_SECRETS": json.dumps(SIGNING_SECRETS), **DEPLOYED}
    result = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **env)

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"SECRET_KEY": "short"}, "security.W009"),
        ({"ALLOWED_HOSTS": ""}, "security.W020"),
        ({"HTTPS": "off"}, "security.W012"),
        ({"METRICS_TOKEN": "short"}, "sartiq_tasks.E025"),
        ({"AUTHENTICATION": "both"}, "sartiq_tasks.W003"),
        ({"THROTTLE_FAILURES": "often"}, "sartiq_tasks.E022"),
    ],
)
def test_unsafe_settings_fail_the_checks(env: dict[str, str], word: str) -> None:
    result = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **(DEPLOYED | env))

    assert result.returncode != 0
    assert word in result.stderr


def test_the_log_is_one_json_object_a_line() -> None:
    code = (
        "import logging, os\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'sartiq_tasks.settings'\n"
        "import django\n"
        "django.setup()\n"
        "deliveries = logging.getLogger('sartiq_tasks.deliveries')\n"
        "deliveries.info('delivery %s', 'stored', extra={'task': 'a\\nb'})\n"
        "logging.getLogger('django.request').warning('Unauthorized')\n"
        "logging.getLogger('anything').error('failed')\n"
    )
    lines = [json.loads(line) for line in run("-c", code, **DEPLOYED).stderr.splitlines()]
    off = run("-c", code, LOG_DELIVERIES="off", **DEPLOYED).stderr

    assert [line["message"] for line in lines] == ["delivery stored", "failed"]
    assert lines[0]["task"] == "a\nb"
    assert "delivery stored" not in off
