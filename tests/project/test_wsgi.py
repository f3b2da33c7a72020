"""The application that the server runs."""

from __future__ import annotations

import importlib
import os

import pytest
from django.core.handlers.wsgi import WSGIHandler


def test_it_takes_the_projects_settings_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    import sartiq_tasks.wsgi

    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    wsgi = importlib.reload(sartiq_tasks.wsgi)

    assert os.environ["DJANGO_SETTINGS_MODULE"] == "sartiq_tasks.settings"
    assert isinstance(wsgi.application, WSGIHandler)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
    importlib.reload(sartiq_tasks.wsgi)
    assert os.environ["DJANGO_SETTINGS_MODULE"] == "tests.settings"
