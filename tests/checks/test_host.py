"""A host that cannot receive events, or not safely, gets one line that says so."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections
from django.http import HttpResponse
from django.test import Client
from django.test.utils import override_script_prefix
from django.urls import include, path, re_path

from tasks.checks.host import (
    check_cached_queries,
    check_database,
    check_distributed,
    check_docs_page,
    check_migrated_database,
    check_tenants,
    check_token_storage,
    check_urls,
)
from tasks.database import distribution
from tasks.views import TaskWebhookView

EXEMPT = [r"^api/v1/tasks/webhook/?$", r"^api/v1/login/access-token/?$"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]


class Subclass(TaskWebhookView):
    """A host's own."""


def anything(request: Any, **kwargs: Any) -> HttpResponse:
    return HttpResponse()


OURS = path("api/v1/", include("tasks.urls"))


def codes(messages: list[Any]) -> list[str]:
    return [message.id.removeprefix("sartiq_tasks.") for message in messages]


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Any:
    def pretend(vendor: str, name: str) -> None:
        monkeypatch.setattr(connections["default"], "vendor", vendor)
        monkeypatch.setattr(connections["default"], "display_name", name)

    return pretend


@pytest.mark.parametrize(
    ("kind", "name"),
    [("mysql", "MariaDB"), ("mysql", "MySQL"), ("oracle", "Oracle"), ("microsoft", "SQL Server")],
)
@pytest.mark.parametrize(
    "command",
    [
        ("check",),
        ("check", "--database", "default"),
        ("check", "--tag", "sartiq_tasks"),
        ("check", "--tag", "database", "--database", "default"),
        ("migrate", "--plan"),
    ],
    ids=" ".join,
)
@pytest.mark.django_db
def test_a_database_that_no_event_can_be_recorded_in(
    vendor: Any, settings: Any, kind: str, name: str, command: tuple[str, ...]
) -> None:
    settings.SARTIQ_TASKS = {"DISTRIBUTED": False}  # none of them is a Citus
    vendor(kind, name)
    with pytest.raises(SystemCheckError) as error:
        call_command(*command, **{"skip_checks": False} if command[0] == "migrate" else {})

    assert "sartiq_tasks.E040" in str(error.value)
    assert name in str(error.value)


def test_a_driver_with_which_deliveries_fail(vendor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor("postgresql", "PostgreSQL")
    monkeypatch.setattr(connections["default"], "Database", ModuleType("psycopg"))
    assert check_database() == []

    monkeypatch.setattr(connections["default"], "Database", ModuleType("psycopg2"))
    assert codes(check_database()) == codes(check_migrated_database(databases=["default"])) == ["E042"]
    assert check_migrated_database(databases=["another"]) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("is_set", "place", "found"),
    [(False, None, []), (True, "distributed", []), (False, "distributed", ["E061"]), (True, None, ["W060"])],
)
def test_the_setting_says_how_the_tables_are(
    settings: Any, monkeypatch: pytest.MonkeyPatch, is_set: bool, place: str | None, found: list[str]
) -> None:
    settings.SARTIQ_TASKS = {"DISTRIBUTED": is_set}
    monkeypatch.setattr(distribution, "placed", lambda connection: {"sartiq_tasks_task": place})

    is_postgresql = connections["default"].vendor == "postgresql"
    assert codes(check_distributed(databases=["default"])) == (found if is_postgresql else [])
    assert check_distributed(databases=["another"]) == check_distributed() == []


class EventsElsewhere:
    """The ledger is in a PostgreSQL or SQLite of its own."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "ledger" if model._meta.app_label == "sartiq_tasks" else None


def test_only_the_database_of_the_ledger_counts(vendor: Any, settings: Any) -> None:
    vendor("mysql", "MySQL")
    assert codes(check_database()) == ["E040"]
    assert check_migrated_database(databases=["another"]) == []

    settings.DATABASE_ROUTERS = ["tests.checks.test_host.EventsElsewhere"]
    connections.databases["ledger"] = connections.databases["default"]
    try:
        assert check_database() == check_migrated_database(databases=["default", "ledger"]) == []
    finally:
        del connections.databases["ledger"]


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ({}, ["W040"]),
        ({"COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": False}, ["W040"]),
        ({"COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True}, []),
    ],
)
def test_tokens_in_clear(settings: Any, provider: dict[str, Any], expected: list[str]) -> None:
    settings.OAUTH2_PROVIDER = provider

    assert codes(check_token_storage()) == expected


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([OURS], []),
        ([OURS, re_path("", anything)], []),
        ([re_path("", anything), OURS], ["W041"]),
        ([path("<path:page>", anything), OURS], ["W041"]),
        ([path("api/v1/tasks/<slug:name>", anything), OURS], ["W041"]),
        ([path("api/v1/tasks/webhook", Subclass.as_view()), OURS], []),
        ([path("api/v1/tasks/webhook/", anything), OURS], ["W041"]),
        ([path("in/", include(([re_path("", anything), OURS], "api")))], ["W041"]),
        ([path("in/", include(([OURS], "api")))], []),
        ([re_path("^(?:api/)?v1/", include("tasks.urls")), re_path("", anything)], []),
        ([path("v1/", anything), re_path("^(?:api/)?v1/", include("tasks.urls"))], []),
        ([path("v1/<path:rest>", anything), re_path("^(?:api/)?v1/", include("tasks.urls"))], ["W041"]),
        # Each prefix counts.
        ([OURS, path("old/", include("tasks.urls"))], []),
        ([OURS, path("old/<path:page>", anything), path("old/", include("tasks.urls"))], ["W041"]),
        ([path("api/<path:page>", anything), OURS, path("old/", include("tasks.urls"))], ["W041"]),
        ([re_path("", anything), OURS, path("a/", include("tasks.urls")), path("b/", include("tasks.urls"))],
         ["W041"] * 3),
        ([OURS, path("a/", include("tasks.urls", namespace="a")), re_path("^b", anything),
          path("b/", include("tasks.urls", namespace="b"))], ["W041"]),
        # Nobody can tell what an argument will be.
        ([path("<slug:tenant>/api/v1/", include("tasks.urls"))], []),
        ([re_path("", anything), path("<slug:tenant>/api/v1/", include("tasks.urls"))], []),
        ([path("<str:tenant>/x/<path:page>", anything), OURS, path("100%/x/", include("tasks.urls"))],
         ["W041"]),
        ([], []),
    ],
)  # fmt: skip
def test_a_pattern_that_hides_the_webhook(use_urls: Any, patterns: list[Any], expected: list[str]) -> None:
    use_urls(*patterns)

    assert codes(check_urls()) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"SECURE_SSL_REDIRECT": True}, ["W042"]),
        ({"SECURE_SSL_REDIRECT": True, "SECURE_REDIRECT_EXEMPT": ["^health$"]}, ["W042"]),
        ({"SECURE_SSL_REDIRECT": True, "SECURE_REDIRECT_EXEMPT": EXEMPT[:1]}, ["W042"]),
        ({"SECURE_SSL_REDIRECT": True, "SECURE_REDIRECT_EXEMPT": EXEMPT}, []),
        ({"SECURE_SSL_REDIRECT": True, "SECURE_REDIRECT_EXEMPT": ["^api/"]}, []),
        ({"SECURE_SSL_REDIRECT": True, "MIDDLEWARE": []}, []),
        ({"PREPEND_WWW": True}, ["W042"]),
        ({"PREPEND_WWW": True, "MIDDLEWARE": []}, []),
        ({}, []),
    ],
)
def test_a_setting_that_redirects_deliveries(
    settings: Any, use_urls: Any, values: dict[str, Any], expected: list[str]
) -> None:
    use_urls(OURS)
    before = {"SECURE_SSL_REDIRECT": False, "SECURE_REDIRECT_EXEMPT": [], "MIDDLEWARE": MIDDLEWARE}
    for name, value in (before | values).items():
        setattr(settings, name, value)

    assert codes(check_urls()) == expected


def test_a_project_without_urls(settings: Any) -> None:
    del settings.ROOT_URLCONF

    assert check_urls() == []


@pytest.mark.django_db
@pytest.mark.parametrize("script", ["", "/under/it"])
@pytest.mark.parametrize("given", [[], EXEMPT, ["^health$"], [*EXEMPT, r"^old/"]])
@pytest.mark.parametrize(
    "others",
    [
        [],
        [path("old/", include("tasks.urls"))],
        [path("old/", include("tasks.urls", namespace="o")), path("2.0/", include(([OURS], "new")))],
        [path("events", Subclass.as_view()), path("<slug:tenant>/", include("tasks.urls"))],
    ],
)
def test_the_hint_sets_it_right_for_each_prefix(
    settings: Any, use_urls: Any, given: list[str], others: list[Any], script: str
) -> None:
    use_urls(OURS, *others)
    given = [pattern.replace("^", f"^{script[1:]}/", bool(script)) for pattern in given]
    is_enough = len(given) > 1 and (not others or (len(others) == 1 and len(given) == 3))
    settings.SECURE_SSL_REDIRECT, settings.SECURE_REDIRECT_EXEMPT = True, given
    settings.MIDDLEWARE = MIDDLEWARE
    with override_script_prefix(f"{script}/"):
        if messages := check_urls():
            (message,) = messages
            names: dict[str, Any] = {}
            exec(str(message.hint).removeprefix("Set ").removesuffix("."), names)
            settings.SECURE_REDIRECT_EXEMPT = names["SECURE_REDIRECT_EXEMPT"]
            assert settings.SECURE_REDIRECT_EXEMPT[: len(given)] == given

        assert bool(messages) is not is_enough
        assert check_urls() == []
    for one in ("/api/v1/tasks/webhook", "/api/v1/login/access-token/"):
        answer = Client().generic("POST", one, SCRIPT_NAME=script)
        assert answer.status_code in {400, 401}


def test_a_host_without_the_endpoints_hears_nothing(settings: Any, use_urls: Any) -> None:
    use_urls(path("", anything))
    settings.SECURE_SSL_REDIRECT, settings.PREPEND_WWW, settings.MIDDLEWARE = True, True, MIDDLEWARE

    assert check_urls() == []


class TestTheDocsPage:
    """What it lacks is told, if it can be opened at all."""

    @pytest.mark.parametrize("missing", ["drf_spectacular_sidecar", "django.contrib.staticfiles"])
    def test_it_lacks_an_app(self, settings: Any, missing: str) -> None:
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != missing]

        (message,) = check_docs_page()

        assert message.id == "sartiq_tasks.W045"
        assert missing in message.msg
        assert missing in str(message.hint)

    @pytest.mark.parametrize(
        "pattern", [path("in/", include(([OURS], "api"))), path("in/api/v1/", include("tasks.urls", "ours"))]
    )
    def test_it_is_found_in_a_namespace(self, settings: Any, use_urls: Any, pattern: Any) -> None:
        use_urls(pattern)
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "drf_spectacular_sidecar"]

        (message,) = check_docs_page()

        assert "/in/api/v1/docs cannot" in message.msg

    def test_it_lacks_nothing(self) -> None:
        assert check_docs_page() == []

    def test_it_is_not_among_the_urls(self, settings: Any, use_urls: Any) -> None:
        use_urls(path("webhook", TaskWebhookView.as_view()))
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "drf_spectacular_sidecar"]

        assert check_docs_page() == []


AUTH, TOKENS = "django.contrib.auth", "oauth2_provider"


@pytest.mark.parametrize(
    ("tenant_apps", "expected"),
    [
        (None, []),
        ([], []),
        (["tasks"], []),
        (["tasks", AUTH, TOKENS], []),
        (("tasks", TOKENS), []),
        (["tasks", AUTH], ["E041"]),
        (("tasks", "django.contrib.auth.apps.AuthConfig"), ["E041"]),
        (["django.contrib.auth.apps.AuthConfig", "oauth2_provider.apps.DOTConfig"], []),
        (["django.contrib.authors"], []),
    ],
)
def test_users_of_each_tenant_and_tokens_of_all(settings: Any, tenant_apps: Any, expected: list[str]) -> None:
    settings.TENANT_APPS = tenant_apps

    assert codes(check_tenants()) == expected


ALL = {"ops": "all", "timeout": 60}
TABLES = [model._meta.db_table for model in apps.get_app_config("sartiq_tasks").get_models()]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Any:
    """Pretend that a cache of queries is installed: a real one would patch Django for the whole process."""

    def pretend(name: str, changes: dict[str, Any]) -> None:
        is_installed = apps.is_installed
        monkeypatch.setattr(apps, "is_installed", lambda app: app == name or is_installed(app))
        for key, value in changes.items():
            setattr(settings, key, value)

    return pretend


@pytest.mark.parametrize(
    ("changes", "is_cached"),
    [
        ({}, True),
        ({"CACHALOT_ENABLED": False}, False),
        ({"CACHALOT_UNCACHABLE_APPS": ["sartiq_tasks"]}, False),
        ({"CACHALOT_UNCACHABLE_APPS": ["auth"]}, True),
        ({"CACHALOT_UNCACHABLE_TABLES": TABLES}, False),
        ({"CACHALOT_UNCACHABLE_TABLES": TABLES[1:]}, True),
        ({"CACHALOT_ONLY_CACHABLE_APPS": ["auth"]}, False),
        ({"CACHALOT_ONLY_CACHABLE_TABLES": ["auth_user"]}, False),
        ({"CACHALOT_ONLY_CACHABLE_TABLES": TABLES[:1]}, True),
        ({"CACHALOT_ONLY_CACHABLE_APPS": ["sartiq_tasks"]}, True),
    ],
)
def test_cachalot(changes: dict[str, Any], is_cached: bool, install: Any) -> None:
    install("cachalot", changes)

    assert hints(check_cached_queries()) == ['Add "sartiq_tasks" to CACHALOT_UNCACHABLE_APPS.'] * is_cached


@pytest.mark.parametrize(
    ("changes", "is_cached"),
    [
        ({}, False),
        ({"CACHEOPS": {"*.*": ALL}}, True),
        ({"CACHEOPS": {"*.*": ALL}, "CACHEOPS_ENABLED": False}, False),
        ({"CACHEOPS": {"*.*": {"timeout": 60}}}, False),
        ({"CACHEOPS": {"*.*": {"timeout": 60}}, "CACHEOPS_DEFAULTS": {"ops": "get"}}, True),
        ({"CACHEOPS": {"auth.*": ALL}}, False),
        ({"CACHEOPS": {"sartiq_tasks.*": None, "*.*": ALL}}, False),
        ({"CACHEOPS": {"sartiq_tasks.Task": ALL, "sartiq_tasks.*": None}}, True),
    ],
)
def test_cacheops(changes: dict[str, Any], is_cached: bool, install: Any) -> None:
    install("cacheops", changes)

    assert hints(check_cached_queries()) == ['Set CACHEOPS["sartiq_tasks.*"] = None.'] * is_cached


def hints(messages: Any) -> list[str | None]:
    assert codes(messages) == ["W047"] * len(messages)
    return [message.hint for message in messages]


def test_no_cache_of_queries(settings: Any) -> None:
    settings.CACHEOPS = {"*.*": ALL}

    assert check_cached_queries() == []
