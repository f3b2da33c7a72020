"""docs/reference.md against the code: the page lists all that is public, and nothing else."""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.db import models

from tasks import models as models_of_the_app
from tasks import urls
from tasks.handlers import on_event
from tasks.handlers.registry import declaring
from tasks.ops import metrics, reaction_metrics, silence_metrics
from tasks.ops.delivery_log import Delivery
from tests.factories import record

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reference.md").read_text()
SOURCES = {path: path.read_text() for path in (ROOT / "tasks").rglob("*.py")}
APP = apps.get_app_config("sartiq_tasks")
PUBLIC_MODELS = [model for model in APP.get_models() if model.__name__ in models_of_the_app.__all__]


def sections(level: str, page: str = PAGE) -> dict[str, str]:
    """Return the parts of the page under each heading that is a name."""
    parts = re.split(rf"^{level} (.*)$", page, flags=re.MULTILINE)[1:]
    return {title.strip("`"): text for title, text in zip(parts[::2], parts[1::2], strict=True)}


def rows(text: str) -> dict[str, str]:
    """Return the tables' second cells by each name in their first."""
    lines = re.findall(r"^\| (`[^|]*) \| (.*) \|$", text, flags=re.MULTILINE)
    return {name: second for first, second in lines for name in re.findall(r"`([^`]+)`", first)}


def documented() -> set[str]:
    found = set(re.findall(r"^\.\. auto\w+:: (\S+)$", PAGE, flags=re.MULTILINE))
    in_models = sections("###")["sartiq.tasks.models"]
    return found | {f"tasks.models.{name}" for name in sections("####", in_models)}


def public() -> set[str]:
    found = set()
    for path, source in SOURCES.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
                found |= {f"{module}.{name}" for name in ast.literal_eval(node.value)}
    return found


def test_the_app_imports_itself_relatively() -> None:
    """The wheel installs it under another name: an import of ``tasks`` would find the host's, or nothing."""
    absolute = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, source in SOURCES.items()
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.ImportFrom) and node.level == 0 and _is_ours(node.module))
        or (isinstance(node, ast.Import) and any(_is_ours(alias.name) for alias in node.names))
    ]

    assert absolute == []


def _is_ours(module: str | None) -> bool:
    return str(module).partition(".")[0] == "tasks"


def section(title: str) -> str:
    return sections("##")[title]


def test_every_public_name_is_documented_and_every_documented_name_is_public() -> None:
    assert documented() == public()


@pytest.mark.parametrize("name", sorted(public()))
def test_every_public_name_can_be_imported_and_is_under_its_module(name: str) -> None:
    module, _, attribute = name.rpartition(".")

    assert hasattr(importlib.import_module(module), attribute)
    text = sections("###")[f"sartiq.{module}"]
    assert f":: {name}\n" in text or f"#### `{attribute}`" in text


@pytest.mark.parametrize(
    ("name", "members"),
    re.findall(r"^\.\. autoclass:: (\S+)\n +:members: (.+)$", PAGE, flags=re.MULTILINE),
)
def test_every_documented_member_is_there(name: str, members: str) -> None:
    module, _, attribute = name.rpartition(".")
    owner = getattr(importlib.import_module(module), attribute)

    assert [member for member in members.split(", ") if not hasattr(owner, member)] == []


@pytest.mark.parametrize("model", PUBLIC_MODELS, ids=lambda model: model.__name__)
def test_every_column_and_property_of_a_model(model: type[models.Model]) -> None:
    columns = {field.name for field in model._meta.concrete_fields}
    private = {name for name in columns if name.endswith("_order") or name.startswith("previous_")}
    properties = {name for name, value in vars(model).items() if isinstance(value, property)}
    methods = {f"{name}()" for name, value in vars(model).items() if type(value) is type(rows)}
    own = {name for name in properties | methods if not name.startswith("_")}

    assert set(rows(sections("####")[model.__name__].split("\n### ")[0])) == (columns - private) | own


def test_every_permission() -> None:
    given = {
        f"sartiq_tasks.{codename}"
        for model in APP.get_models()
        for codename in [
            *(f"{action}_{model._meta.model_name}" for action in model._meta.default_permissions),
            *(codename for codename, _ in model._meta.permissions),
        ]
    }

    assert set(rows(sections("###")["Permissions"])) == given


def test_every_url() -> None:
    named = {pattern.name: f"`{pattern.pattern}`" for pattern in urls.urlpatterns if pattern.name}

    assert rows(sections("###")["sartiq.tasks.urls"]) == named


def test_every_command_and_its_options() -> None:
    ours = {name for name, app in get_commands().items() if app == APP.name}
    listed = rows(section("Commands"))
    assert set(listed) == ours
    common = option_names(BaseCommand().create_parser("manage.py", "any"))
    for name, options in listed.items():
        parser = load_command_class(APP.name, name).create_parser("manage.py", name)
        if "may change" not in options:
            assert set(re.findall(r"`([^`]+)`", options)) == option_names(parser) - common


def option_names(parser: Any) -> set[str]:
    return {action.option_strings[-1] if action.option_strings else action.dest for action in parser._actions}


def test_every_logger_and_what_a_record_of_a_delivery_has() -> None:
    loggers = {name for source in SOURCES.values() for name in re.findall(r'getLogger\("([^"]+)"\)', source)}
    text = section("Logs and metrics")
    (attributes,) = re.findall(r"has these attributes: ([^.]*)\.", text)

    assert {name for name in rows(text) if "." in name} == loggers
    assert re.findall(r"`(\w+)`", attributes) == [field.name for field in fields(Delivery)]


@pytest.mark.django_db
def test_every_metric(settings: Any) -> None:
    record()
    settings.SARTIQ_TASKS = {"LOST_AFTER": timedelta(hours=1)}
    reaction_metrics.instruments()
    silence_metrics.instruments()
    with declaring():
        on_event()(print)
        text = metrics.exposition()[0].decode()
    exposed = dict(re.findall(r"^# TYPE (sartiq_tasks_\w+) (\w+)$", text, re.M))
    listed = {name: kind for name, kind in rows(section("Logs and metrics")).items() if "." not in name}

    assert listed == {name: kind for name, kind in exposed.items() if not name.endswith("_created")}
