"""The served document against the published one, structurally."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import path as at
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings
from drf_spectacular.utils import extend_schema
from drf_spectacular.validation import validate_schema
from rest_framework.authentication import BaseAuthentication

from tasks.views import TaskWebhookView
from tests.factories import body

PUBLISHED = json.loads((Path(__file__).parent / "contract" / "openapi.json").read_text())


@pytest.fixture(scope="module")
def served() -> Any:
    answer = Client().get("/api/v1/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def exactly(value: Any) -> str:
    """Return a form that also tells 100 from 100.0, and true from 1."""
    return json.dumps(value, sort_keys=True)


def test_openapi_3_1(served: Any) -> None:
    assert served["openapi"] == "3.1.0"
    assert served["info"] == PUBLISHED["info"]


@pytest.mark.parametrize("component", sorted(PUBLISHED["components"]["schemas"]))
def test_component(served: Any, component: str) -> None:
    assert exactly(served["components"]["schemas"][component]) == exactly(
        PUBLISHED["components"]["schemas"][component]
    )


def test_fields_stand_in_the_published_order(served: Any) -> None:
    ours, theirs = (document["components"]["schemas"]["TaskStatusEvent"] for document in (served, PUBLISHED))
    assert list(ours["properties"]) == list(theirs["properties"])
    assert ours["required"] == theirs["required"]


def test_no_other_components(served: Any) -> None:
    assert set(served["components"]["schemas"]) == set(PUBLISHED["components"]["schemas"])


def test_the_published_security_scheme_by_a_path_that_does_not_depend_on_the_page(served: Any) -> None:
    (name, theirs), *others = PUBLISHED["components"]["securitySchemes"].items()
    ours = dict(served["components"]["securitySchemes"])
    flow = theirs["flows"]["password"] | {"tokenUrl": "/api/v1/login/access-token"}

    assert not others
    assert ours.pop(name) == {"type": "oauth2", "flows": {"password": flow, "clientCredentials": flow}}
    assert list(ours) == ["BearerToken"]
    assert (ours["BearerToken"]["type"], ours["BearerToken"]["scheme"]) == ("http", "bearer")


def test_the_operation(served: Any) -> None:
    assert list(served["paths"]) == [*PUBLISHED["paths"], "/api/v1/login/access-token"]
    (ours,) = served["paths"]["/api/v1/tasks/webhook"].values()
    (theirs,) = PUBLISHED["paths"]["/api/v1/tasks/webhook"].values()
    for key in ("tags", "summary", "operationId"):
        assert ours[key] == theirs[key]
    assert ours["security"] == [*theirs["security"], {"BearerToken": []}]
    body = ours["requestBody"]["content"]["application/json"]
    assert {"schema": body["schema"]} == theirs["requestBody"]["content"]["application/json"]
    assert ours["requestBody"]["required"] is theirs["requestBody"]["required"]
    answer = ours["responses"]["422"]["content"]["application/json"]
    assert {"schema": answer["schema"]} == theirs["responses"]["422"]["content"]["application/json"]
    answers = {"200", "400", "401", "403", "409", "411", "413", "415", "422", "429", "503"}
    assert set(ours["responses"]) == answers


def test_the_docs_page_needs_nothing_from_outside() -> None:
    page = Client().get("/api/v1/docs")

    assert page.status_code == 200
    content = page.content.decode()
    assert "drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in content
    assert "http://" not in content.replace("http://testserver", "")
    assert "https://" not in content
    assert 'data-document="/api/v1/openapi.json"' in content


def test_every_answer_says_when_with_an_example(served: Any) -> None:
    for path in served["paths"].values():
        for answer in path["post"]["responses"].values():
            assert answer["description"].endswith(".")
            assert answer["content"]["application/json"]["example"]


def test_the_headers(served: Any) -> None:
    webhook = served["paths"]["/api/v1/tasks/webhook"]["post"]

    assert {one["name"] for one in webhook["parameters"]} == {"Idempotency-Key", "X-Request-ID"}
    special = {"401": {"WWW-Authenticate"}, "429": {"Retry-After"}, "503": {"Retry-After"}}
    for status, answer in webhook["responses"].items():
        assert set(answer["headers"]) == {"X-Request-ID", *special.get(status, set())}


def test_no_header_is_described_as_one_that_could_be_rejected(served: Any, post: Any) -> None:
    """Whatever a header is, it loses no event: so the document must not forbid what is accepted."""
    webhook = served["paths"]["/api/v1/tasks/webhook"]["post"]

    for parameter in webhook["parameters"]:
        assert (parameter["required"], parameter["schema"]) == (False, {"type": "string"})
        for value in ("x" * 8000, " ", "\u00e9", "a b", "<>", "\t", ""):
            assert post(body(task_id="a"), headers={parameter["name"]: value}).status_code == 200


def test_the_example_is_accepted(served: Any, post: Any) -> None:
    webhook = served["paths"]["/api/v1/tasks/webhook"]["post"]
    example = webhook["requestBody"]["content"]["application/json"]["example"]

    answer = post(example)

    assert answer.status_code == 200
    assert set(answer.json()) == set(webhook["responses"]["200"]["content"]["application/json"]["example"])


def test_the_limits_are_those_of_the_settings(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"MAX_BODY_BYTES": 4711, "MAX_NESTING": 12, "MAX_STRING_LENGTH": 99}
    webhook = Client().get("/api/v1/openapi.json").json()["paths"]["/api/v1/tasks/webhook"]["post"]

    assert "4711 bytes of body, 12 levels of lists and objects, 99 characters" in webhook["description"]


def test_the_document_is_valid(served: Any) -> None:
    validate_schema(served)


@pytest.mark.parametrize(
    "host",
    [
        {
            "TITLE": "Shop",
            "SECURITY": [{"ApiKey": []}],
            "COMPONENT_SPLIT_REQUEST": True,
            "CAMELIZE_NAMES": True,
        },
        {"OAS_VERSION": "3.0.3", "SCHEMA_PATH_PREFIX": "/api", "SCHEMA_PATH_PREFIX_TRIM": True},
        {"AUTHENTICATION_WHITELIST": [], "PARSER_WHITELIST": [], "RENDERER_WHITELIST": []},
        {
            "APPEND_COMPONENTS": {"schemas": {"Shop": {"type": "object"}}},
            "SERVERS": [{"url": "https://shop"}],
        },
    ],
)
def test_the_settings_of_a_host_change_nothing(served: Any, host: dict[str, Any]) -> None:
    with patched_settings(host):
        assert Client().get("/api/v1/openapi.json").json() == served


def hosts_document(version: str) -> Any:
    """Return the document that drf-spectacular makes of this project, as of any host's."""
    with patched_settings({"OAS_VERSION": version, "TITLE": "Shop"}):
        return SchemaGenerator().get_schema(public=True)


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_the_document_of_a_host_is_valid(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = hosts_document(version)

    validate_schema(document)
    assert document["info"]["title"] == "Shop"
    assert list(document["paths"]) == ["/api/v1/tasks/webhook"]
    assert capsys.readouterr().err == ""


class ByBadge(BaseAuthentication):
    """A way to authenticate of a host's, which drf-spectacular knows nothing of."""


def test_endpoints_that_cannot_be_described_are_left_out_of_the_document(settings: Any) -> None:
    settings.SARTIQ_TASKS = settings.SARTIQ_TASKS | {
        "AUTHENTICATION_CLASSES": [f"{__name__}.ByBadge", "rest_framework.authentication.BasicAuthentication"]
    }

    document = Client().get("/api/v1/openapi.json").json()

    assert list(document["components"]["securitySchemes"]) == ["basicAuth"]
    assert document["paths"]["/api/v1/tasks/webhook"]["post"]["security"] == [{"basicAuth": []}]


def test_a_host_can_keep_the_webhook_out_of_its_document(use_urls: Any) -> None:
    @extend_schema(exclude=True)
    class Hidden(TaskWebhookView):
        pass

    use_urls(at("hidden", Hidden.as_view()), at("shown", TaskWebhookView.as_view()))

    assert list(hosts_document("3.1.0")["paths"]) == ["/shown"]


def test_asking_for_ours_leaves_a_hosts_document_alone() -> None:
    before = hosts_document("3.0.3")

    def one(number: int) -> Any:
        if number % 3 == 0:
            return SchemaGenerator().get_schema(public=True)
        return Client().get("/api/v1/openapi.json" if number % 3 == 1 else "/api/v1/docs").status_code

    with patched_settings({"OAS_VERSION": "3.0.3", "TITLE": "Shop"}), ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(one, range(150)))

    assert [answer for number, answer in enumerate(answers) if number % 3] == [200] * 100
    assert [answer for number, answer in enumerate(answers) if number % 3 == 0] == [before] * 50


def test_a_host_validates_with_the_app_in_it() -> None:
    for version in ("3.0.3", "3.1.0"):
        with patched_settings({"OAS_VERSION": version}):
            call_command("spectacular", "--validate", "--fail-on-warn", "--file", os.devnull)


@pytest.mark.parametrize("query", ["version=%0A", "lang=%00", "lang=xx", "format=yaml", "script", "x=%ED%A0"])
@pytest.mark.parametrize("path", ["openapi.json", "docs"])
def test_a_query_changes_nothing(path: str, query: str) -> None:
    assert Client().get(f"/api/v1/{path}?{query}").content == Client().get(f"/api/v1/{path}").content


def test_the_docs_page_says_what_it_lacks(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "drf_spectacular_sidecar"]
    answer = Client().get("/api/v1/docs")

    assert (answer.status_code, "drf_spectacular_sidecar" in answer.json()["detail"]) == (404, True)


def test_the_pages_need_no_templates(settings: Any) -> None:
    settings.TEMPLATES = []

    assert Client().get("/api/v1/docs").status_code == 200


MANIFEST = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"


@pytest.mark.parametrize(
    "changes",
    [
        {"STATIC_URL": None},
        {"STORAGES": {"staticfiles": {"BACKEND": MANIFEST}}},
    ],
    ids=["no STATIC_URL", "not collected"],
)
def test_the_docs_page_without_static_files_says_what_to_do(
    settings: Any, changes: dict[str, Any], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = str(tmp_path)
    for name, value in changes.items():
        setattr(settings, name, value)

    answer = Client().get("/api/v1/docs")

    assert (answer.status_code, "collectstatic" in answer.json()["detail"]) == (404, True)
    assert "static files" in caplog.text
