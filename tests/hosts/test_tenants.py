"""A host whose database backend does work in ``cursor()``: django-tenants, with the schema of each tenant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.hosts.environments import Host, database_extras, new_project, python_with

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="django-tenants is for PostgreSQL")

SETTINGS = """
import os
DATABASES["default"]["ENGINE"] = "django_tenants.postgresql_backend"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
TENANT_LIMIT_SET_CALLS = {limit}
TENANT_MODEL, TENANT_DOMAIN_MODEL = "customers.Client", "customers.Domain"
THEIRS = ["django.contrib.contenttypes", "django.contrib.auth", "oauth2_provider", "sartiq.tasks"]
SHARED_APPS = ["django_tenants", "customers", *THEIRS]
SILENCED_SYSTEM_CHECKS = os.environ.get("SILENCED", "").split()
TENANT_APPS = {tenant_apps}
INSTALLED_APPS = [*SHARED_APPS, "django.contrib.sessions", "django.contrib.messages", "django.contrib.admin",
    "django.contrib.staticfiles", "rest_framework", "drf_spectacular", "drf_spectacular_sidecar"]
MIDDLEWARE.insert(0, "django_tenants.middleware.main.TenantMainMiddleware")
ALLOWED_HOSTS = ["*"]
OAUTH2_PROVIDER = {{"SCOPES": {{"tasks:webhook": "Post"}}}}
SARTIQ_TASKS = {{"THROTTLE_DELIVERIES": "1000/min"}}
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
"""
MODELS = """
from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Client(TenantMixin):
    auto_create_schema = True


class Domain(DomainMixin):
    pass
"""
#: Deliveries in one process and over one connection, in turn.
PREPARATION = """
import json, warnings
from django.db import connection
from django.contrib.auth.models import Permission, User
from django.test import Client as Browser
from django_tenants.utils import schema_context
from oauth2_provider.models import get_access_token_model, set_token_value
from customers.models import Client, Domain
from datetime import timedelta
from django.utils import timezone
from sartiq.tasks.auth.clients import create_compute_client, issue_token
from sartiq.tasks.models import RejectedDelivery, TaskStatusEvent

def make_token(schema, value, user=None, application=None):
    with schema_context(schema):
        made = get_access_token_model()(
            scope="tasks:webhook", expires=timezone.now() + timedelta(hours=1), user=user,
            application=application,
        )
        set_token_value(made, value)
        made.save()

SCHEMAS = ["public", "alpha", "beta"]
for schema in SCHEMAS:
    tenant = Client.objects.create(schema_name=schema)
    Domain.objects.create(domain=f"{schema}.test", tenant=tenant, is_primary=True)
numbers = iter(range(1000))

def post(schema, token, **changes):
    body = {"event_type": "e", "task_id": f"{schema}-{token}", "status": "running",
        "progress": next(numbers) % 100, "task_type": "t", "metadata": {"number": next(numbers)}} | changes
    answer = Browser().post(
        "/api/v1/tasks/webhook", json.dumps(body), content_type="application/json",
        headers={"Authorization": f"Bearer {token}", "Host": f"{schema}.test"},
    )
    return answer.status_code
"""
#: Each tenant has tokens of its own; it prints what each schema has in the end.
OWN_TOKENS = """
for schema in SCHEMAS:
    with schema_context(schema):
        client, _ = create_compute_client(f"{schema}-cluster")
        user = User.objects.create_user(f"{schema}-user")
        if schema != "beta":
            user.user_permissions.add(Permission.objects.get(codename="add_taskstatusevent"))
    make_token(schema, f"own-{schema}", application=client)
    make_token(schema, f"user-{schema}", user=user)
    make_token(schema, "of-the-same-name", application=client)

answers = {}
for _ in range(8):
    for token_of in SCHEMAS:
        for schema in SCHEMAS:
            for kind in ("own", "user"):
                token = f"{kind}-{token_of}"
                answers.setdefault(f"{token} at {schema}", []).append(post(schema, token))
    for schema in SCHEMAS:
        answers.setdefault(f"same at {schema}", []).append(post(schema, "of-the-same-name"))
        answers.setdefault(f"rejected at {schema}", []).append(post(schema, f"own-{schema}", progress=101))

with schema_context("alpha"):
    get_access_token_model().objects.filter(application__name="alpha-cluster").delete()
revoked = {schema: [post(schema, "of-the-same-name"), post(schema, f"own-{schema}")] for schema in SCHEMAS}
kept = {}
for schema in SCHEMAS:
    with schema_context(schema):
        events = TaskStatusEvent.objects.values_list("task_id", "source")
        kept[schema] = [sorted(set(map(tuple, events))), events.count(), RejectedDelivery.objects.count()]
print(json.dumps([answers, revoked, kept]))
"""
#: The tokens, users and permissions are in the schema public alone.
SHARED_TOKENS = """
client, _ = create_compute_client("my-cluster")
users = {name: User.objects.create_user(name) for name in ("ada", "bob")}
users["ada"].user_permissions.add(Permission.objects.get(codename="add_taskstatusevent"))
make_token("public", "of-client", application=client)
for name, user in users.items():
    make_token("public", f"of-{name}", user=user)
answers = {}
for number in range(8):
    for schema in SCHEMAS:
        for token in ("of-client", "of-ada", "of-bob", "unknown"):
            answers.setdefault(token, []).append(post(schema, token))
get_access_token_model().objects.filter(application=client).delete()
answers["revoked"] = [post(schema, "of-client") for schema in SCHEMAS]
kept = {}
for schema in SCHEMAS:
    with schema_context(schema):
        kept[schema] = sorted(TaskStatusEvent.objects.values_list("task_id", "source"))
print(json.dumps([answers, kept]))
"""


def new_host(tmp_path: Path, database: dict[str, Any], limit: bool, tenant_apps: str) -> Host:
    python = python_with("django-tenants", extras=database_extras())
    host = new_project(tmp_path, python, database=database)
    host.write("backend/settings.py", SETTINGS.format(limit=limit, tenant_apps=tenant_apps), append=True)
    host.write("customers/__init__.py", "")
    host.write("customers/models.py", MODELS)
    host.write(
        "backend/urls.py",
        "\nfrom django.urls import include\nurlpatterns += [path('api/v1/', include('sartiq.tasks.urls'))]\n",
        append=True,
    )
    return host


def migrate(host: Host, **environment: str) -> None:
    host.manage("makemigrations", "customers", **environment)
    host.manage("migrate_schemas", "--shared", "--verbosity", "0", **environment)


@pytest.fixture
def host(tmp_path: Path, host_database: dict[str, Any], limit: bool, tenant_apps: str) -> Host:
    made = new_host(tmp_path, host_database, limit, tenant_apps)
    migrate(made)
    return made


limits = pytest.mark.parametrize("limit", [False, True], ids=["set always", "set when it changes"])


@limits
@pytest.mark.parametrize("tenant_apps", ["THEIRS"], ids=["all of theirs"])
def test_each_tenant_has_its_own_ledger_and_tokens(host: Host) -> None:
    answers, revoked, kept = json.loads(host.shell(PREPARATION + OWN_TOKENS).splitlines()[-1])

    for token_of in ("public", "alpha", "beta"):
        for schema in ("public", "alpha", "beta"):
            own = 200 if token_of == schema else 401
            assert answers[f"own-{token_of} at {schema}"] == [own] * 8
            of_user = own if (token_of, schema) != ("beta", "beta") else 403
            assert answers[f"user-{token_of} at {schema}"] == [of_user] * 8
    for schema in ("public", "alpha", "beta"):
        events, count, rejected = kept[schema]
        assert answers[f"same at {schema}"] == [200] * 8
        assert answers[f"rejected at {schema}"] == [422] * 8
        assert revoked[schema] == ([401, 401] if schema == "alpha" else [200, 200])
        wanted = {f"own-{schema}": f"{schema}-cluster", "of-the-same-name": f"{schema}-cluster"}
        wanted |= {f"user-{schema}": f"{schema}-user"} if schema != "beta" else {}
        assert dict(events) == {f"{schema}-{token}": source for token, source in wanted.items()}
        assert count == 8 * len(wanted) + (0 if schema == "alpha" else 2)
        assert rejected == 8


@limits
@pytest.mark.parametrize("tenant_apps", ["['sartiq.tasks']"], ids=["the ledger alone"])
def test_a_shared_token_posts_to_the_ledger_of_the_tenant_whose_host_it_posts_to(host: Host) -> None:
    answers, kept = json.loads(host.shell(PREPARATION + SHARED_TOKENS).splitlines()[-1])

    wanted = {"of-client": 200, "of-ada": 200, "of-bob": 403, "unknown": 401}
    assert answers == {token: [status] * 24 for token, status in wanted.items()} | {"revoked": [401] * 3}
    for schema in ("public", "alpha", "beta"):
        mine = [[f"{schema}-of-ada", "ada"]] * 8 + [[f"{schema}-of-client", "my-cluster"]] * 8
        assert kept[schema] == mine


#: The first user of each tenant is another: who has the number that the token names may post in one alone.
USERS_OF_EACH = """
client, _ = create_compute_client("my-cluster")
make_token("public", "of-client", application=client)
for schema in SCHEMAS:
    with schema_context(schema):
        user = User.objects.create_user(f"{schema}-user")
        if schema == "alpha":
            user.user_permissions.add(Permission.objects.get(codename="add_taskstatusevent"))
make_token("public", "of-user", user=user)
answers = {token: [post(schema, token) for schema in SCHEMAS] for token in ("of-client", "of-user")}
with schema_context("alpha"):
    print(json.dumps([answers, sorted(TaskStatusEvent.objects.values_list("task_id", "source"))]))
"""


def test_shared_tokens_and_users_of_each_tenant_are_an_error(
    tmp_path: Path, host_database: dict[str, Any]
) -> None:
    """The token of beta's user counts for alpha's user with the same id: hence the error."""
    own = "['django.contrib.contenttypes', 'django.contrib.auth', 'sartiq.tasks']"
    host = new_host(tmp_path, host_database, limit=True, tenant_apps=own)
    said = host.manage("check", status=1)
    assert "sartiq_tasks.E041" in said

    silent = {"SILENCED": "sartiq_tasks.E041"}
    migrate(host, **silent)
    code = PREPARATION + USERS_OF_EACH
    printed = host.manage("shell", "--verbosity", "0", "--command", code, **silent)
    answers, kept = json.loads(printed.splitlines()[-1])

    assert answers == {"of-client": [200] * 3, "of-user": [403, 200, 403]}
    assert kept == [["alpha-of-client", "my-cluster"], ["alpha-of-user", "alpha-user"]]
