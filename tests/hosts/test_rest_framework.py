"""A host with endpoints and authenticators of its own: DRF's, its documentation's example, simplejwt's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.environments import Host, database_extras, new_project, once, python_with

SETTINGS = """
INSTALLED_APPS += ["rest_framework", "rest_framework.authtoken", "oauth2_provider", "drf_spectacular"]
INSTALLED_APPS += ["drf_spectacular_sidecar", "sartiq.tasks"]
OAUTH2_PROVIDER = {"SCOPES": {"tasks:webhook": "Post"}, "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True}
REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}
SPECTACULAR_SETTINGS = {"TITLE": "Shop"}
ALLOWED_HOSTS = ["testserver"]
SECRET_KEY = "only for tests, and long enough for a signature by SHA-256"
"""
KEYS = """
from django.contrib.auth.models import User
from rest_framework import authentication, exceptions


class ExampleAuthentication(authentication.BaseAuthentication):
    def authenticate(self, request):
        username = request.META.get("HTTP_X_USERNAME")
        if not username:
            return None
        try:
            user = User.objects.get(username=username)
        except User.DoesNotExist:
            raise exceptions.AuthenticationFailed("No such user")
        return (user, None)
"""
URLS = """
from django.contrib.auth.models import Group, User
from django.urls import include
from rest_framework import routers, serializers, viewsets


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ["id", "username", "email"]


class UserViewSet(viewsets.ModelViewSet):
    queryset = User.objects.all()
    serializer_class = UserSerializer


class GroupSerializer(serializers.ModelSerializer):
    class Meta:
        model = Group
        fields = ["id", "name"]


class GroupViewSet(viewsets.ReadOnlyModelViewSet):
    queryset = Group.objects.all()
    serializer_class = GroupSerializer


router = routers.DefaultRouter()
router.register("users", UserViewSet)
router.register("groups", GroupViewSet)
own = [path("shop/0/", include(router.urls))]
urlpatterns = [path("api/v1/", include("sartiq.tasks.urls")), *own, *urlpatterns]
under_a_tenant = [path("<slug:tenant>/api/v1/", include("sartiq.tasks.urls")), *own]
"""
#: It prints the statuses of deliveries with good credentials, ones without the permission, and bad ones.
DELIVERIES = """
import json
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from rest_framework.authtoken.models import Token
from rest_framework_simplejwt.tokens import AccessToken

may, may_not, gone, inactive = [User.objects.create_user(n) for n in ("may", "may_not", "gone", "inactive")]
for user in (may, gone, inactive):
    user.user_permissions.add(Permission.objects.get(codename="add_taskstatusevent"))
jwt = {user.username: str(AccessToken.for_user(user)) for user in (may, may_not, gone, inactive)}
keys = {user.username: Token.objects.create(user=user).key for user in (may, may_not, gone, inactive)}
gone.delete()
User.objects.filter(pk=inactive.pk).update(is_active=False)
BODY = {"event_type": "e", "task_id": "t", "status": "running", "progress": 5, "task_type": "t"}
TOKEN = "a" * 32


def post(kind, user=None, **headers):
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    if user:
        client.force_login(user)
        client.cookies["csrftoken"] = TOKEN
    with override_settings(SARTIQ_TASKS={"AUTHENTICATION_CLASSES": [kind]}):
        return client.post("/api/v1/tasks/webhook", BODY, "application/json", headers=headers).status_code


def each(kind, header, credentials):
    return [post(kind, **{header: one}) for one in credentials]


drf = "rest_framework.authentication."
session = drf + "SessionAuthentication"
print(json.dumps({
    "token": each(drf + "TokenAuthentication", "Authorization", [
        f"Token {keys['may']}", f"Token {keys['may_not']}", f"Token {keys['gone']}",
        f"Token {keys['inactive']}",
        "Token", "Token a b", "Token \\xff", "Bearer x", ""]),
    "jwt": each("rest_framework_simplejwt.authentication.JWTAuthentication", "Authorization", [
        f"Bearer {jwt['may']}", f"Bearer {jwt['may_not']}", f"Bearer {jwt['gone']}",
        f"Bearer {jwt['inactive']}", "Bearer", "Bearer a b c", "Bearer a.b.c", f"Bearer {jwt['may'][:-3]}",
        "Bearer \\xff", "Token x", ""]),
    "stateless jwt": each("rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication",
        "Authorization", [f"Bearer {jwt['may']}", "Bearer x"]),
    "key": each("backend.keys.ExampleAuthentication", "X-Username", ["may", "may_not", "gone", ""]),
    "session": [post(session, may, **{"X-CSRFToken": TOKEN}),
        post(session, may_not, **{"X-CSRFToken": TOKEN}),
        post(session, may), post(session, may, **{"X-CSRFToken": "b" * 32}), post(session)],
}))
"""


@pytest.fixture
def host(tmp_path: Path, host_database: dict[str, Any]) -> Host:
    python = python_with("djangorestframework-simplejwt", extras=database_extras())
    host = new_project(tmp_path, python, database=host_database)
    host.write("backend/settings.py", SETTINGS, append=True)
    host.write("backend/keys.py", KEYS)
    host.write("backend/urls.py", URLS, append=True)
    return host


def test_its_authenticators_let_in_whoever_has_the_permission(host: Host) -> None:
    host.manage("migrate", "--verbosity", "0")

    answers = json.loads(host.shell(DELIVERIES).splitlines()[-1])

    assert answers == {
        "token": [200, 403, *[401] * 7],
        "jwt": [200, 403, *[401] * 9],
        "stateless jwt": [403, 401],
        "key": [200, 403, 403, 403],
        "session": [200, 403, 403, 403, 403],
    }


#: Makes the host's document in each way, in one process, and prints them.
DOCUMENTS = """
import json
import os
import sys
import types
from django.core.management import call_command
from django.urls import clear_url_caches
from drf_spectacular.settings import patched_settings
from backend import urls

def made(patterns, **given):
    module = sys.modules["of_this_document"] = types.ModuleType("of_this_document")
    module.urlpatterns = patterns
    clear_url_caches()
    with patched_settings(given):
        call_command("spectacular", urlconf="of_this_document", format="openapi-json", file="own.json",
            validate=True, fail_on_warn=True)
    with open("own.json") as opened:
        return json.load(opened)

tenant = urls.under_a_tenant
print(json.dumps({
    "alone": made(urls.own),
    "3.0.3": made(urls.urlpatterns, OAS_VERSION="3.0.3"),
    "3.1.0": made(urls.urlpatterns, OAS_VERSION="3.1.0"),
    "3.0.3 of a tenant": made(tenant, OAS_VERSION="3.0.3"),
    "3.1.0 of a tenant": made(tenant, OAS_VERSION="3.1.0"),
    "with the page's setting": made(urls.urlpatterns, SCHEMA_PATH_PREFIX="/shop/0/"),
    "with less than the page says": made(urls.urlpatterns, SCHEMA_PATH_PREFIX="/shop/"),
}))
"""


@once
def test_its_own_document_is_valid_with_the_app_in_it(host: Host) -> None:
    made = json.loads(host.shell(DOCUMENTS).splitlines()[-1])

    own = {f"/shop/0/{name}" for name in ("groups/", "groups/{id}/", "users/", "users/{id}/")}
    for name, document in made.items():
        webhook = "/{tenant}/api/v1/tasks/webhook" if "tenant" in name else "/api/v1/tasks/webhook"
        assert set(document["paths"]) == (own if name == "alone" else {*own, webhook})
        assert document["info"]["title"] == "Shop"
        assert document["openapi"] == (name.partition(" ")[0] if name[0] == "3" else "3.0.3")

    def names(document: Any) -> list[Any]:
        operations = [document["paths"][path]["get"] for path in sorted(own)]
        return [(operation["operationId"], operation["tags"]) for operation in operations]

    assert names(made["alone"]) == names(made["with the page's setting"])
    assert names(made["alone"])[0] == ("groups_list", ["groups"])
    assert names(made["3.0.3"])[0] == ("shop_0_groups_list", ["shop"])
    assert names(made["with less than the page says"])[0] == ("0_groups_list", ["0"])
