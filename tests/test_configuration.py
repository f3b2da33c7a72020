"""docs/configuration.md against the code: every variable and every key, with its default and its check."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.conf import SETTINGS, AppSettings

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT, KEYS = (
    [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in part.splitlines()
        if line[:3] == "| `"
    ]
    for part in (ROOT / "docs" / "configuration.md").read_text().split("## `SARTIQ_TASKS`")
)
DOCUMENTED = {row[0].strip("`"): row[1] for row in ENVIRONMENT}
#: What prometheus-client reads by itself.
ELSEWHERE = {"PROMETHEUS_MULTIPROC_DIR"}


def read_by_settings() -> dict[str, ast.expr | None]:
    """Return what the project reads of the environment, and each one's default as it is written."""
    found: dict[str, ast.expr | None] = {}
    for path in (ROOT / "sartiq_tasks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.args and node.args[0], ast.Constant):
                continue
            if ast.unparse(node.func).startswith("env.") or ast.unparse(node.func) == "database":
                name = ast.literal_eval(node.args[0])
                default = next((word.value for word in node.keywords if word.arg == "default"), None)
                found[name] = found.get(name) or default
    return found


def read_by_the_server() -> dict[str, str]:
    source = (ROOT / "sartiq_tasks" / "server.py").read_text()
    return dict(re.findall(r'environ\.get\("([A-Z_]+)", "([^"]+)"\)', source))


def test_every_variable_is_documented_and_every_one_documented_is_read() -> None:
    assert set(DOCUMENTED) == set(read_by_settings()) | set(read_by_the_server()) | ELSEWHERE
    assert len(DOCUMENTED) == len(ENVIRONMENT)


def shown(default: Any) -> str:
    if default in (None, "", [], {}) and default is not False:
        return "none"
    return f"`{({True: 'on', False: 'off'}.get(default, default)) if isinstance(default, bool) else default}`"


@pytest.mark.parametrize(("name", "default"), read_by_settings().items(), ids=lambda value: str(value)[:20])
def test_the_default_of_a_variable(name: str, default: ast.expr | None) -> None:
    if default is None:
        assert DOCUMENTED[name] == "required"
    elif isinstance(default, (ast.Constant, ast.List, ast.Dict)):
        assert DOCUMENTED[name] == shown(ast.literal_eval(default))
    else:
        assert DOCUMENTED[name] not in ("required", "none")


@pytest.mark.parametrize(("name", "default"), read_by_the_server().items())
def test_the_default_of_the_servers(name: str, default: str) -> None:
    assert DOCUMENTED[name] == f"`{default}`"


def test_every_key_is_documented_with_its_default_and_its_check() -> None:
    defaults = {name.upper(): value for name, value in vars(AppSettings()).items()}
    documented = {
        # In a backend the package is sartiq.tasks, in this repository it is tasks.
        row[0].strip("`"): (
            eval(row[1].strip("`").replace("sartiq.tasks.", "tasks."), {"timedelta": timedelta}),
            row[2].strip("`"),
        )
        for row in KEYS
        if not row[0].startswith("`sartiq_tasks.")
    }

    assert documented == {key: (defaults[key], one.metadata["code"]) for key, one in SETTINGS.items()}


def test_every_code_is_documented() -> None:
    source = "".join(path.read_text() for path in (ROOT / "tasks").rglob("*.py"))
    page = (ROOT / "docs" / "configuration.md").read_text()
    in_tables = re.findall(r"^\|.* `sartiq_tasks\.([EW]\d+)` \|", page, flags=re.MULTILINE)
    settings = re.findall(r"\b([EW]\d{3})\b", page)

    of_settings = {one.metadata["code"].removeprefix("sartiq_tasks.") for one in SETTINGS.values()}
    assert sorted(in_tables) == sorted({*re.findall(r'"sartiq_tasks\.([EW]\d+)"', source), *of_settings})
    assert set(settings) == set(in_tables)
