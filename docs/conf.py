"""The documentation as a site: ``make docs``.

The source directory is the repository's root: a relative link works on the site and in the repository.
"""

import os
import sys
import tomllib
from pathlib import Path

import django
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

project = "sartiq-tasks"
author = "The maintainers of sartiq-tasks"
project_copyright = author
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
root_doc = "docs/README"
include_patterns = ["docs/*.md", "README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md"]
# Not to be searched for pages.
exclude_patterns = [
    ".*", "build", "benchmarks", "deploy", "dist", "fuzz", "local", "sartiq_tasks", "staticfiles", "tasks",
    "tests",
]  # fmt: skip

myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # a page's parts may begin at any level
autodoc_member_order = "bysource"
add_module_names = False  # the headings of the reference name the modules
autodoc_typehints = "description"

html_theme = "furo"
html_title = f"sartiq-tasks {release}"
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]


def setup(app: Sphinx) -> None:
    """Add the navigation to the first page: in the repository it would show as code."""

    def add_navigation(_: Sphinx, page: str, source: list[str]) -> None:
        if page == root_doc:
            source[0] += (ROOT / "docs" / "navigation.txt").read_text()

    app.connect("source-read", add_navigation)
