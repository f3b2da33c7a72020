"""The served document against the published one, structurally."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

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
    assert served["components"]["securitySchemes"] == PUBLISHED["components"]["securitySchemes"]


def test_the_operation(served: Any) -> None:
    assert list(served["paths"]) == list(PUBLISHED["paths"])
    (ours,) = served["paths"]["/api/v1/tasks/webhook"].values()
    (theirs,) = PUBLISHED["paths"]["/api/v1/tasks/webhook"].values()
    for key in ("tags", "summary", "operationId", "requestBody", "security"):
        assert ours[key] == theirs[key]
    assert ours["responses"]["422"]["content"] == theirs["responses"]["422"]["content"]
    answers = {"200", "400", "401", "403", "409", "411", "413", "415", "422", "429", "503"}
    assert set(ours["responses"]) == answers


def test_the_docs_page_needs_nothing_from_outside(settings: Any) -> None:
    page = Client().get("/api/v1/docs")

    assert page.status_code == 200
    content = page.content.decode()
    assert "drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in content
    assert "http://" not in content.replace("http://testserver", "")
    assert "https://" not in content
    script = Client().get("/api/v1/docs?script=")
    assert "/api/v1/openapi.json" in script.content.decode()
