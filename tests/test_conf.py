"""The setting ``SARTIQ_TASKS``, read live."""

from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError
from itertools import count
from typing import Any

import pytest
from django.test import override_settings
from rest_framework.permissions import AllowAny

from tasks.conf import AppSettings, app_settings, normalise
from tests.databases import is_citus


def test_everything_has_a_default() -> None:
    assert app_settings().max_body_bytes == 1024 * 1024
    assert app_settings().authentication_classes == AppSettings().authentication_classes


def test_a_change_is_seen_at_once_and_undone_at_once(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"MAX_NESTING": 7, "STATUSES": {"running": ["baking"]}}

    assert app_settings().max_nesting == 7
    assert app_settings().meanings["baking"] == "running"
    settings.SARTIQ_TASKS = {}
    assert app_settings().max_nesting == 100


def test_every_way_to_change_the_setting_is_seen(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"MAX_NESTING": 7}
    assert app_settings().max_nesting == 7
    with override_settings(SARTIQ_TASKS={"MAX_NESTING": 8}):
        assert app_settings().max_nesting == 8
        with override_settings():
            del settings.SARTIQ_TASKS
            assert app_settings() == AppSettings()
    assert app_settings().max_nesting == 7
    settings.SARTIQ_TASKS = {}
    assert app_settings() == AppSettings()


def test_the_same_setting_is_read_once(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"MAX_NESTING": 7}

    assert app_settings() is app_settings()


def test_classes_are_imported_from_their_paths(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"]}

    assert app_settings().permissions == (AllowAny,)


@pytest.mark.parametrize("key", ["MAX_NESTLING", "max_nesting", 5, None])
def test_a_key_that_is_not_known_is_left_to_the_system_check(settings: Any, key: Any) -> None:
    settings.SARTIQ_TASKS = {key: 7}

    assert app_settings() == AppSettings(distributed=is_citus())


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        app_settings().max_nesting = 1  # type: ignore[misc]


@pytest.mark.parametrize("status", ["In-Progress", " in progress", "IN_PROGRESS"])
def test_statuses_are_compared_in_one_form(status: str) -> None:
    assert normalise(status) == "in_progress"


def test_a_status_can_be_given_another_meaning_than_its_default(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"STATUSES": {"queued": ["starting"], "failed": ["stopped"]}}

    assert app_settings().meanings["starting"] == "queued"
    assert app_settings().meanings["stopped"] == "failed"
    assert app_settings().meanings["running"] == "running"


def read_at(step: int, settings: Any, value: int) -> int | None:
    """Read a new setting, and return what another thread reads at that step of it, if it has as many."""
    settings.SARTIQ_TASKS = {"MAX_NESTING": value}
    seen: list[int] = []
    steps = count()

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code is not app_settings.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and next(steps) == step:
            sys.settrace(None)
            seen.append(app_settings().max_nesting)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        app_settings()
    finally:
        sys.settrace(before)
    return seen[0] if seen else None


def test_no_thread_sees_a_new_setting_beside_an_old_view(settings: Any) -> None:
    read_at(0, settings, value=200)  # Python 3.12.1 traces each step only from a function's second call on
    read = [read_at(step, settings, value=step + 1) for step in range(80)]
    seen = [value for value in read if value is not None]

    assert len(seen) > 10
    assert seen == list(range(1, len(seen) + 1))
