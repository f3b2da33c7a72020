"""Checks of the setting ``SARTIQ_TASKS`` itself, and of what the app needs of Django's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django.conf import settings as django_settings
from django.core import checks

from ..conf import COLUMN_LENGTH, AppSettings
from . import values

#: Messages never quote the values of these: what ``repr()`` leaves out.
_SECRETS = {one.name.upper() for one in fields(AppSettings) if not one.repr}
#: For each key of ``SARTIQ_TASKS`` the code of its error, and the function that judges its value.
JUDGEMENTS: Mapping[str, tuple[str, values.Judgement]] = {
    "STATUSES": ("sartiq_tasks.E001", values.statuses),
    "CLOCK_TOLERANCE": ("sartiq_tasks.E002", values.not_negative),
    "MAX_BODY_BYTES": ("sartiq_tasks.E003", values.whole_number(1)),
    "MAX_NESTING": ("sartiq_tasks.E004", values.whole_number(1, 400)),
    "MAX_STRING_LENGTH": ("sartiq_tasks.E005", values.whole_number(1, COLUMN_LENGTH)),
    "AUTHENTICATION_CLASSES": ("sartiq_tasks.E006", values.classes_with("authenticate")),
    "PERMISSION_CLASSES": ("sartiq_tasks.E007", values.classes_with("has_permission")),
    "SCOPE": ("sartiq_tasks.E008", values.text),
    "SILENT_AFTER": ("sartiq_tasks.E030", values.silence_limits),
    "QUEUED_AFTER": ("sartiq_tasks.E031", values.or_none(values.not_negative)),
    "LOST_AFTER": ("sartiq_tasks.E032", values.or_none(values.positive)),
    "PROBE": ("sartiq_tasks.E033", values.probe),
    "PROBE_URL": ("sartiq_tasks.E034", values.http_url),
    "PROBE_TOKEN": ("sartiq_tasks.E035", values.header_text),
    "PROBE_TIMEOUT": ("sartiq_tasks.E036", values.positive),
    "DATABASE_TIMEOUT": ("sartiq_tasks.E009", values.or_none(values.not_negative)),
    "SIGNING_SECRETS": ("sartiq_tasks.E020", values.signing_secrets),
    "THROTTLE_DELIVERIES": ("sartiq_tasks.E021", values.rate),
    "THROTTLE_FAILURES": ("sartiq_tasks.E022", values.rate),
    "THROTTLE_TOKEN_REQUESTS": ("sartiq_tasks.E023", values.rate),
    "THROTTLE_CACHE": ("sartiq_tasks.E024", values.cache_alias),
    "METRICS_TOKEN": ("sartiq_tasks.E025", values.metrics_token),
    "REJECTED_RETENTION": ("sartiq_tasks.E013", values.not_negative),
    "REJECTED_PER_MINUTE": ("sartiq_tasks.E014", values.whole_number(0)),
    "HANDLER_ATTEMPTS": ("sartiq_tasks.E015", values.whole_number(1)),
    "HANDLER_LEASE": ("sartiq_tasks.E016", values.positive),
    "HANDLER_POLL": ("sartiq_tasks.E017", values.positive),
    "HANDLER_RETENTION": ("sartiq_tasks.E018", values.not_negative),
    "DISTRIBUTED": ("sartiq_tasks.E060", values.true_or_false),
}


@checks.register("sartiq_tasks")
def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check the setting ``SARTIQ_TASKS``, key by key, and what the app needs of Django's own."""
    given: Any = getattr(django_settings, "SARTIQ_TASKS", {})
    if not isinstance(given, Mapping):
        return [checks.Error(f"SARTIQ_TASKS must be a dict, not {given!r}.", id="sartiq_tasks.E010")]
    messages: list[checks.CheckMessage] = []
    for key, value in given.items():
        if key not in JUDGEMENTS:
            hint = f"The keys are {', '.join(JUDGEMENTS)}."
            messages.append(
                checks.Warning(f"SARTIQ_TASKS has no key {key!r}.", hint=hint, id="sartiq_tasks.W001")
            )
            continue
        code, judge = JUDGEMENTS[key]
        if wanted := judge(value):
            given_value = "" if key in _SECRETS else f", not {value!r}"
            messages.append(checks.Error(f"SARTIQ_TASKS[{key!r}] must be {wanted}{given_value}.", id=code))
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


def given(key: str, default: Any) -> Any:
    """Return the value of ``key``, valid or not: ``check_settings()`` judges it."""
    settings = getattr(django_settings, "SARTIQ_TASKS", {})
    return settings.get(key, default) if isinstance(settings, Mapping) else default
