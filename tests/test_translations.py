"""The catalogues in ``tasks/locale`` hold every string of the app, translated."""

from __future__ import annotations

import gettext
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import pytest
from django.test import Client
from django.utils import translation

from tests.programs import needed
from tests.servers import ROOT

CATALOGUES = sorted((ROOT / "tasks" / "locale").glob("*/LC_MESSAGES/django.po"))
LANGUAGES = [path.parts[-3] for path in CATALOGUES]
DJANGO = Path(django.__file__).parent
#: Django's own catalogue, and those of the apps that come with it.
DJANGOS = [DJANGO / "conf", *sorted(path.parent for path in DJANGO.glob("contrib/*/locale"))]


@pytest.fixture
def programs() -> None:
    """Gettext's programs, which makemessages and compilemessages call."""
    needed("xgettext", package="gettext")


def test_there_is_a_catalogue() -> None:
    assert "de" in LANGUAGES


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("catalogue", CATALOGUES, ids=LANGUAGES)
def test_no_string_is_missing_or_left_over(catalogue: Path, tmp_path: Path) -> None:
    app = tmp_path / "tasks"
    shutil.copytree(ROOT / "tasks", app, ignore=shutil.ignore_patterns("*.mo", "__pycache__"))
    command = ["-m", "django", "makemessages", "--locale", catalogue.parts[-3], "--add-location", "file"]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    subprocess.run(
        [sys.executable, *command, "--no-obsolete"], cwd=app, check=True, capture_output=True, env=environment
    )

    made = app / catalogue.relative_to(ROOT / "tasks")
    assert strings(made) == strings(catalogue), "run `make messages`, and translate what it added"


def strings(catalogue: Path) -> list[str]:
    """Return the catalogue's strings with the files they are from, without its header."""
    _, _, entries = catalogue.read_text().partition("\n\n")
    return re.split(r"\n\n", entries)


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("catalogue", CATALOGUES, ids=LANGUAGES)
def test_every_string_is_translated_and_compiled(catalogue: Path, tmp_path: Path) -> None:
    compiled = tmp_path / "django.mo"
    command = ["msgfmt", "--check-format", "--statistics", "--output-file", str(compiled), str(catalogue)]
    told = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}
    )

    assert re.fullmatch(r"\d+ translated messages\.\n", told.stderr)
    assert read(catalogue.with_suffix(".mo")) == read(compiled), "run `make messages`"


def read(compiled: Path) -> Any:
    with compiled.open("rb") as file:
        return gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("language", "word"),
    [
        ("de", "Compute-Übersicht"),
        ("de-AT", "Compute-Übersicht"),
        ("en", "Compute overview"),
        ("ar", "Compute overview"),
    ],
)
def test_staff_see_the_language_of_their_browser(admin_client: Client, language: str, word: str) -> None:
    with translation.override(None):  # the middleware leaves the language to the thread
        page = admin_client.get("/admin/sartiq_tasks/task/", headers={"Accept-Language": language})

    assert page.status_code == 200
    assert page.headers["Content-Language"] == language.split("-")[0]
    assert word in page.content.decode()


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=LANGUAGES)
@pytest.mark.parametrize("theirs", DJANGOS, ids=lambda path: path.name)
def test_no_word_of_django_is_translated_otherwise(catalogue: Path, theirs: Path) -> None:
    """INSTALLED_APPS decides which of two catalogues counts, for the pages of both.

    What means something else here has a context.
    """
    compiled = theirs / "locale" / catalogue.parts[-3] / "LC_MESSAGES" / "django.mo"
    known = read(compiled) if compiled.exists() else {}
    ours = read(catalogue.with_suffix(".mo"))

    assert {
        text: ours[text] for text in ours.keys() & known.keys() if text and ours[text] != known[text]
    } == {}
