"""The style sheet holds in any admin theme: it relies on no variable of Django's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tasks

STATIC = Path(tasks.__file__).parent / "static" / "sartiq_tasks"


def test_each_style_sheet_is_known_here() -> None:
    assert {style.name for style in STATIC.rglob("*.css")} == {"admin.css", "docs.css", "overview.css"}


@pytest.mark.parametrize(
    ("name", "before"), [("admin.css", ()), ("docs.css", ()), ("overview.css", ("admin.css",))]
)
def test_every_variable_is_defined_or_has_a_fallback(name: str, before: tuple[str, ...]) -> None:
    """``before`` are the style sheets of the app that each of its pages has in front of it."""
    text = (STATIC / name).read_text()
    together = "".join([text, *((STATIC / one).read_text() for one in before)])
    defined = set(re.findall(r"(--[\w-]+)\s*:", together))
    used_alone = set(re.findall(r"var\(\s*(--[\w-]+)\s*\)", text))

    assert used_alone <= defined


def test_the_overview_gives_no_other_look_to_a_class_of_admin_css() -> None:
    """The overview has both style sheets: a rule in one would change what the other styles."""
    on_both = {"st-bar", "st-none", "st-succeeded"}
    overview, admin = (
        set(re.findall(r"\.(st-[\w-]+)", re.sub(r"var\([^)]*\)", "", (STATIC / name).read_text())))
        for name in ("overview.css", "admin.css")
    )

    assert overview & admin == on_both
