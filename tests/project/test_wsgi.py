"""The application that the server runs."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest
from django.core.handlers.wsgi import WSGIHandler

from tests.servers import ROOT, project_environment


def test_it_takes_the_projects_settings_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    import sartiq_tasks.wsgi

    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    wsgi = importlib.reload(sartiq_tasks.wsgi)

    assert os.environ["DJANGO_SETTINGS_MODULE"] == "sartiq_tasks.settings"
    assert isinstance(wsgi.application, WSGIHandler)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
    importlib.reload(sartiq_tasks.wsgi)
    assert os.environ["DJANGO_SETTINGS_MODULE"] == "tests.settings"


def test_no_delivery_has_to_import_what_judges_its_sender() -> None:
    program = """
import sys
from sartiq_tasks.wsgi import application
from tasks.conf import app_settings
named = app_settings().authentication_classes + app_settings().permission_classes
print(*(path for path in named if path.rpartition(".")[0] not in sys.modules))
print(len(named))
"""
    done = subprocess.run(
        (sys.executable, "-c", program), cwd=ROOT, env=project_environment("sqlite://"), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["", "2"], done.stderr
