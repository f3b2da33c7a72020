"""System checks of the host: its database, URLs and static files, and how tokens are stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.db import connections, router
from django.db.models import Model
from django.urls import URLResolver, get_resolver, get_script_prefix, is_valid_path
from django.utils.regex_helper import normalize
from oauth2_provider.models import get_access_token_model
from oauth2_provider.settings import oauth2_settings

from ..auth.views import AccessTokenView
from ..conf import app_settings
from ..database import distribution
from ..models import Task, TaskStatusEvent
from ..openapi.views import DocsView
from ..views import TaskWebhookView
from .settings import has_errors

#: The databases that the statement which records an event is written for.
_VENDORS = ("postgresql", "sqlite")


@checks.register("sartiq_tasks")
def check_database(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check the kind of the ledger's database and its driver, which needs no connection.

    ``check --database`` also runs the next check, which then reports the same: Django 6.1 tells neither of
    them about the option.
    """
    return _check_vendor()


@checks.register(checks.Tags.database)
def check_migrated_database(
    databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Check the same for a command that runs the checks of databases only, such as ``migrate``."""
    is_asked = databases and router.db_for_write(TaskStatusEvent) in databases
    return _check_vendor() if is_asked else []


def _check_vendor() -> list[checks.CheckMessage]:
    alias = router.db_for_write(TaskStatusEvent)
    connection: Any = connections[alias]
    vendor, name = connection.vendor, connection.display_name
    if vendor == "postgresql" and connection.Database.__name__ == "psycopg2":
        return [
            checks.Error(
                f"The database {alias!r} is used through psycopg2, with which deliveries fail: the app needs "
                "psycopg 3.",
                hint="pip install 'psycopg[binary]': Django prefers it to psycopg2 by itself.",
                id="sartiq_tasks.E042",
            )
        ]
    if vendor in _VENDORS:
        return []
    return [
        checks.Error(
            f"Events cannot be recorded in {name} (the database {alias!r}): every delivery would be "
            "answered 503.",
            hint="Use PostgreSQL or SQLite, or route the app sartiq_tasks to such a database.",
            id="sartiq_tasks.E040",
        )
    ]


@checks.register(checks.Tags.database)
def check_distributed(databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check that ``DISTRIBUTED`` is what the tables are."""
    connection = distribution.ledger_connection()
    if connection.vendor != "postgresql" or connection.alias not in (databases or ()) or has_errors():
        return []
    is_distributed = distribution.placed(connection).get(Task._meta.db_table) == distribution.Place.BY_TASK
    if is_distributed == app_settings().distributed:
        return []
    if is_distributed:
        return [
            checks.Error(
                "The tables are distributed and SARTIQ_TASKS['DISTRIBUTED'] is not True: a delivery asks "
                "every node, and the lists of the admin fail.",
                hint="Set it to True.",
                id="sartiq_tasks.E061",
            )
        ]
    return [
        checks.Warning(
            "SARTIQ_TASKS['DISTRIBUTED'] is True and the tables are not distributed: every delivery takes "
            "more round trips than it needs.",
            hint="Run manage.py distribute_ledger, or remove the key.",
            id="sartiq_tasks.W060",
        )
    ]


@checks.register("sartiq_tasks")
def check_token_storage(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that a token stolen from the database is useless."""
    if oauth2_settings.COMPLIANT_BCP_RFC9700_TOKEN_STORAGE:
        return []
    return [
        checks.Warning(
            "django-oauth-toolkit stores access tokens in clear: whoever reads the database can post.",
            hint='Set OAUTH2_PROVIDER["COMPLIANT_BCP_RFC9700_TOKEN_STORAGE"] = True. Tokens issued before '
            "stay valid.",
            id="sartiq_tasks.W040",
        )
    ]


@checks.register("sartiq_tasks")
def check_tenants(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that tenants of django-tenants that share tokens share the users of these tokens, too."""
    of_tenants = [str(app) for app in getattr(settings, "TENANT_APPS", None) or ()]
    users, tokens = get_user_model()._meta.app_label, get_access_token_model()._meta.app_label
    if not _is_among(of_tenants, users) or _is_among(of_tenants, tokens):
        return []
    return [
        checks.Error(
            "Tenants share tokens, but each has users of its own: a token names a different user in each.",
            hint=f"Put {apps.get_app_config(tokens).name} into TENANT_APPS too, or keep users in "
            "SHARED_APPS alone. Silence this if only clients have tokens.",
            id="sartiq_tasks.E041",
        )
    ]


def _is_among(given: Sequence[str], label: str) -> bool:
    name = apps.get_app_config(label).name
    return any(app == name or app.startswith(f"{name}.apps.") for app in given)


@checks.register("sartiq_tasks")
def check_urls(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that deliveries and requests for a token reach the app, and are not redirected."""
    webhooks, prefix = _paths_of(TaskWebhookView), get_script_prefix()
    hidden = [path for path in webhooks if not _reaches_webhook(path)]
    messages: list[checks.CheckMessage] = [
        checks.Warning(
            f"Deliveries to {prefix}{path} do not reach the app: an earlier URL pattern matches them.",
            hint='Put path(..., include("sartiq.tasks.urls")) before that pattern in urlpatterns.',
            id="sartiq_tasks.W041",
        )
        for path in hidden
        if not (path.endswith("/") and path[:-1] in hidden)
    ]
    posted_to = [f"{prefix[1:]}{path}" for path in (*webhooks, *_paths_of(AccessTokenView))]
    if redirected := _redirected(posted_to):
        setting, exempt = redirected
        messages.append(
            checks.Warning(
                f"{setting} answers a delivery with a redirect, on which most senders lose the body.",
                hint=f"Set SECURE_REDIRECT_EXEMPT = [{', '.join(exempt)}]."
                if exempt
                else "Let senders use the www host.",
                id="sartiq_tasks.W042",
            )
        )
    return messages


def _paths_of(view: type) -> list[str]:
    """Return every path to ``view`` or a subclass; ``reverse()`` returns one, and needs its namespace.

    Paths with arguments are left out, because nobody knows their values here.
    """
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    return [
        path
        for regex, callback in _endpoints(get_resolver())
        if issubclass(getattr(callback, "view_class", object), view)
        for path, arguments in normalize(regex)
        if path and not arguments
    ]


def _endpoints(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the regular expression and the view of each URL pattern."""
    for pattern in resolver.url_patterns:
        regex = before + pattern.pattern.regex.pattern.removeprefix("^")
        if isinstance(pattern, URLResolver):
            yield from _endpoints(pattern, regex)
        else:
            yield regex, pattern.callback


def _reaches_webhook(path: str) -> bool:
    match = is_valid_path(f"/{path}")
    return not match or issubclass(getattr(match.func, "view_class", object), TaskWebhookView)


def _redirected(paths: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return the setting that redirects one of ``paths``, and the exemptions that would spare them all."""
    middleware = list(settings.MIDDLEWARE)
    if settings.SECURE_SSL_REDIRECT and "django.middleware.security.SecurityMiddleware" in middleware:
        exempt = settings.SECURE_REDIRECT_EXEMPT
        lacking = [path for path in paths if not any(re.search(pattern, path) for pattern in exempt)]
        if lacking:
            ours = [f"^{re.escape(path.removesuffix('/'))}/?$" for path in lacking]
            return "SECURE_SSL_REDIRECT", [f'r"{pattern}"' for pattern in dict.fromkeys([*exempt, *ours])]
    if paths and settings.PREPEND_WWW and "django.middleware.common.CommonMiddleware" in middleware:
        return "PREPEND_WWW", []
    return None


@checks.register("sartiq_tasks")
def check_docs_page(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that the interactive page, if the URLs have it, finds its static files."""
    paths = _paths_of(DocsView)
    needed = ("drf_spectacular_sidecar", "django.contrib.staticfiles")
    missing = [app for app in needed if not apps.is_installed(app)]
    if not paths or not missing:
        return []
    return [
        checks.Warning(
            f"The page {get_script_prefix()}{paths[0]} cannot be shown without {' and '.join(missing)}.",
            hint=f"Add {' and '.join(map(repr, missing))} to INSTALLED_APPS, or silence this check "
            "if nobody needs the page.",
            id="sartiq_tasks.W045",
        )
    ]


@checks.register("sartiq_tasks")
def check_cached_queries(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that no cache of queries answers reads of the ledger.

    The app writes in SQL of its own, which django-cacheops does not notice. django-cachalot does, but a read
    that runs beside a delivery stores what it read after the delivery has emptied the cache.
    """
    return [
        checks.Warning(
            f"{name} caches reads of the ledger: a task may be shown with an old status.",
            hint=hint,
            id="sartiq_tasks.W047",
        )
        for name, is_cached, hint in (
            ("django-cachalot", _in_cachalot, 'Add "sartiq_tasks" to CACHALOT_UNCACHABLE_APPS.'),
            ("django-cacheops", _in_cacheops, 'Set CACHEOPS["sartiq_tasks.*"] = None.'),
        )
        if any(is_cached(model) for model in apps.get_app_config("sartiq_tasks").get_models())
    ]


def _in_cachalot(model: type[Model]) -> bool:
    """Tell if django-cachalot caches the table: all, or those of two lists, without those of two others."""
    if not apps.is_installed("cachalot") or not getattr(settings, "CACHALOT_ENABLED", True):
        return False

    def is_listed(kind: str) -> bool:
        of_apps, tables = (getattr(settings, f"CACHALOT_{kind}_{of}", ()) for of in ("APPS", "TABLES"))
        return model._meta.app_label in of_apps or model._meta.db_table in tables

    is_limited = any(getattr(settings, f"CACHALOT_ONLY_CACHABLE_{of}", ()) for of in ("APPS", "TABLES"))
    return not is_listed("UNCACHABLE") and (not is_limited or is_listed("ONLY_CACHABLE"))


def _in_cacheops(model: type[Model]) -> bool:
    """Tell if the first of django-cacheops' profiles that fits the model caches an operation by itself."""
    if not apps.is_installed("cacheops") or not getattr(settings, "CACHEOPS_ENABLED", True):
        return False
    profiles = {key.lower(): profile for key, profile in getattr(settings, "CACHEOPS", {}).items()}
    label = model._meta.app_label
    fitting = [key for key in (model._meta.label_lower, f"{label}.*", "*.*") if key in profiles]
    profile = profiles[fitting[0]] if fitting else None
    return profile is not None and bool({**getattr(settings, "CACHEOPS_DEFAULTS", {}), **profile}.get("ops"))


@checks.register(checks.Tags.database)
def check_encoding(databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check that the database can hold every character that a sender may send."""
    alias = router.db_for_write(TaskStatusEvent)
    connection = connections[alias]
    if connection.vendor != "postgresql" or alias not in (databases or ()):
        return []
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        (encoding,) = cursor.fetchone()
    if encoding == "UTF8":
        return []
    return [
        checks.Warning(
            f"The database {alias!r} is in {encoding}: an event with any other character is rejected.",
            hint="Create the database with ENCODING 'UTF8'.",
            id="sartiq_tasks.W020",
        )
    ]
