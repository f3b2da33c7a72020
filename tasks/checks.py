"""System checks: each setting that cannot work says so before the first event does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings
from django.core import checks
from django.utils.module_loading import import_string

from .conf import COLUMN_LENGTH, AppSettings
from .lifecycle import Meaning

_Judgement = Callable[[Any], str | None]


def _whole_number(low: int, high: int | None = None) -> _Judgement:
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"

    def judge(value: Any) -> str | None:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if is_whole and value >= low and (high is None or value <= high):
            return None
        return f"a whole number {bounds}"

    return judge


def _duration(value: Any) -> str | None:
    return (
        None if isinstance(value, timedelta) and value >= timedelta() else "a timedelta that is not negative"
    )


def _duration_or_none(value: Any) -> str | None:
    wanted = None if value is None else _duration(value)
    return wanted and f"{wanted}, or None"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "a string that is not empty"


def _class_paths(value: Any) -> str | None:
    if not isinstance(value, (list, tuple)) or not all(isinstance(path, str) for path in value):
        return "a list of dotted paths"
    for path in value:
        try:
            import_string(path)
        except ImportError as error:
            return f"a list of classes that can be imported ({error})"
    return None


def _statuses(value: Any) -> str | None:
    meanings = [meaning.value for meaning in Meaning if meaning is not Meaning.OTHER]
    if not isinstance(value, Mapping) or not set(value) <= set(meanings):
        return f"a dict with keys of {', '.join(meanings)}"
    for names in value.values():
        if isinstance(names, str) or not isinstance(names, Iterable):
            return "a dict of lists of statuses"
        if not all(isinstance(name, str) for name in names):
            return "a dict of lists of statuses, each a string"
    return None


#: What each key of SARTIQ_TASKS must be, and the code of the error that says so.
_JUDGEMENTS: Mapping[str, tuple[str, _Judgement]] = {
    "STATUSES": ("sartiq_tasks.E001", _statuses),
    "CLOCK_TOLERANCE": ("sartiq_tasks.E002", _duration),
    "MAX_BODY_BYTES": ("sartiq_tasks.E003", _whole_number(1)),
    "MAX_NESTING": ("sartiq_tasks.E004", _whole_number(1, 400)),
    "MAX_STRING_LENGTH": ("sartiq_tasks.E005", _whole_number(1, COLUMN_LENGTH)),
    "AUTHENTICATION_CLASSES": ("sartiq_tasks.E006", _class_paths),
    "PERMISSION_CLASSES": ("sartiq_tasks.E007", _class_paths),
    "SCOPE": ("sartiq_tasks.E008", _text),
    "DATABASE_TIMEOUT": ("sartiq_tasks.E009", _duration_or_none),
}


@checks.register("sartiq_tasks")
def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check the setting ``SARTIQ_TASKS``, key by key, and what the app needs of Django's own."""
    given = getattr(django_settings, "SARTIQ_TASKS", {})
    if not isinstance(given, Mapping):
        return [checks.Error("SARTIQ_TASKS must be a dict.", id="sartiq_tasks.E010")]
    messages: list[checks.CheckMessage] = []
    for key, value in given.items():
        if key not in _JUDGEMENTS:
            hint = f"It knows: {', '.join(_JUDGEMENTS)}."
            messages.append(
                checks.Warning(f"SARTIQ_TASKS has no key {key!r}.", hint=hint, id="sartiq_tasks.W001")
            )
            continue
        code, judge = _JUDGEMENTS[key]
        if wanted := judge(value):
            messages.append(checks.Error(f"SARTIQ_TASKS[{key!r}] must be {wanted}, not {value!r}.", id=code))
    if not django_settings.USE_TZ:
        messages.append(
            checks.Error(
                "Times of events are points in time: USE_TZ must be True.",
                hint="Set USE_TZ = True.",
                id="sartiq_tasks.E011",
            )
        )
    return messages


@checks.register("sartiq_tasks")
def check_scope(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that django-oauth-toolkit knows the scope, else no token could be asked for it."""
    scope = getattr(django_settings, "SARTIQ_TASKS", {}).get("SCOPE", AppSettings.scope)
    known = getattr(django_settings, "OAUTH2_PROVIDER", {}).get("SCOPES", {})
    replaced = "SCOPES_BACKEND_CLASS" in getattr(django_settings, "OAUTH2_PROVIDER", {})
    if replaced or scope in known:
        return []
    return [
        checks.Warning(
            f"django-oauth-toolkit does not know the scope {scope!r}, so no sender can get a token for it.",
            hint=f'Add it: OAUTH2_PROVIDER = {{"SCOPES": {{{scope!r}: "Post the status of tasks"}}}}.',
            id="sartiq_tasks.W002",
        )
    ]
