"""Commands where the packages of the extra ``simulator`` are missing."""

from __future__ import annotations

import importlib.util
import io
import sys
from types import ModuleType
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tasks.management import progress
from tasks.management.commands import simulate_compute


@pytest.fixture(autouse=True)
def _without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("requests", "tqdm"):
        monkeypatch.setitem(sys.modules, name, None)


def imported_again(module: ModuleType) -> Any:
    """Return the module as it is without what is missing; the one that others have stays as it is."""
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_again", str(module.__file__))
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    return again


def test_a_long_command_shows_no_progress() -> None:
    stream = io.StringIO()
    with imported_again(progress).progress(stream, total=2, unit="event") as tell:
        tell(1)

    assert stream.getvalue() == ""


def test_the_simulator_names_the_extra() -> None:
    command = imported_again(simulate_compute).Command()

    with pytest.raises(CommandError, match=r"pip install 'sartiq-tasks\[simulator\]'"):
        call_command(command, url="http://127.0.0.1", client_id="a", client_secret="b")
