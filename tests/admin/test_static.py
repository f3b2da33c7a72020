"""The style sheet holds in any admin theme: it relies on no variable of Django's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tasks

STYLES = sorted((Path(tasks.__file__).parent / "static").rglob("*.css"))


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_every_variable_is_defined_or_has_a_fallback(style: Path) -> None:
    text = style.read_text()
    # The pages that have another style sheet of the app's have admin.css before it.
    together = text + (style.parent / "admin.css").read_text()
    defined = set(re.findall(r"(--[\w-]+)\s*:", together))
    used_alone = set(re.findall(r"var\(\s*(--[\w-]+)\s*\)", text))

    assert used_alone <= defined


def test_no_page_gives_another_look_to_a_class_of_admin_css() -> None:
    """It is loaded before each of them: a class that both style would change by what the other says."""
    of_lists = {"st-bar", "st-none", "st-succeeded"}
    classes = {
        style.name: set(re.findall(r"\.(st-[\w-]+)", re.sub(r"var\([^)]*\)", "", style.read_text())))
        for style in STYLES
    }

    assert classes["overview.css"] & classes["admin.css"] == of_lists
