"""The documentation against what it speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_picture_is_shown() -> None:
    shown = set(re.findall(r"!\[[^]]+\]\((?:docs/)?images/([^)]+)\)", "".join(map(Path.read_text, PAGES))))

    assert {picture.name for picture in (ROOT / "docs" / "images").iterdir()} == shown


def test_every_test_that_proves_a_promise_of_the_handlers_is_there() -> None:
    tables = (ROOT / "docs" / "handlers.md").read_text()
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tables)

    assert len(named) > 20
    sources = {module: (ROOT / "tests" / module).read_text() for module, _ in named}
    assert [one for one in named if f"def {one[1]}(" not in sources[one[0]]] == []


def test_every_test_that_proves_a_promise_is_there() -> None:
    table = (ROOT / "docs" / "reliability.md").read_text()
    source = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", table))

    assert named
    assert {name for name in named if f"def {name}(" not in source} == set()
    assert {
        name for name in re.findall(r"`(test_\w+\.py)`", table) if not (ROOT / "tests" / name).exists()
    } == set()
