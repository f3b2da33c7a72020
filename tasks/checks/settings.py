"""Checks of the setting ``SARTIQ_TASKS`` itself, and of what the app needs of Django's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings as django_settings
from django.core import checks

from ..conf import SETTINGS
from ..judgements import Judgement


@checks.register("sartiq_tasks")
def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check the setting ``SARTIQ_TASKS``, key by key, and what the app needs of Django's own."""
    given: Any = getattr(django_settings, "SARTIQ_TASKS", {})
    if not isinstance(given, Mapping):
        return [checks.Error(f"SARTIQ_TASKS must be a dict, not {given!r}.", id="sartiq_tasks.E010")]
    messages: list[checks.CheckMessage] = []
    for key, value in given.items():
        if key not in SETTINGS:
            hint = f"The keys are {', '.join(SETTINGS)}."
            messages.append(
                checks.Warning(f"SARTIQ_TASKS has no key {key!r}.", hint=hint, id="sartiq_tasks.W001")
            )
            continue
        if wanted := fault(key, value):
            setting = SETTINGS[key]
            told = f", not {value!r}" if setting.repr else ""
            text = f"SARTIQ_TASKS[{key!r}] must be {wanted}{told}."
            messages.append(checks.Error(text, id=setting.metadata["code"]))
    if not django_settings.USE_TZ:
        messages.append(
            checks.Error(
                "USE_TZ must be True, because the app stores times with a time zone.",
                hint="Set USE_TZ = True.",
                id="sartiq_tasks.E011",
            )
        )
    return messages


@checks.register("sartiq_tasks")
def check_probe(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that there is one way to ask the cluster, and a token only for the probe that sends it."""
    probe, url, token = (given(key, None) for key in ("PROBE", "PROBE_URL", "PROBE_TOKEN"))
    if probe is not None and url is not None:
        text, hint = "PROBE and PROBE_URL are both set: only PROBE is used.", "Remove one of them."
    elif token is not None and url is None:
        text, hint = "PROBE_TOKEN is set without PROBE_URL, so nothing sends it.", "Set PROBE_URL."
    else:
        return []
    return [checks.Warning(text, hint=hint, id="sartiq_tasks.W030")]


def has_errors() -> bool:
    """Return whether ``check_settings()`` has found what no other check could read."""
    return any(message.is_serious() for message in check_settings())


def fault(key: str, value: Any) -> str | None:
    """Return in words what the value of ``key`` must be, or None if it is valid."""
    judge: Judgement = SETTINGS[key].metadata["judge"]
    return judge(value)


def given(key: str, default: Any) -> Any:
    """Return the value of ``key``, valid or not: ``check_settings()`` judges it."""
    settings = getattr(django_settings, "SARTIQ_TASKS", {})
    return settings.get(key, default) if isinstance(settings, Mapping) else default
