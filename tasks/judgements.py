"""Judge the values of settings: each function returns None, or in words what the value must be."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from django.conf import settings as django_settings
from django.utils.module_loading import import_string

Judgement = Callable[[Any], str | None]

#: The shortest ``METRICS_TOKEN``, in characters: it must not be guessed.
MIN_TOKEN_LENGTH = 16
_RATE = re.compile("[1-9][0-9]*/(s|sec|second|m|min|minute|h|hour|d|day)")
_URL = re.compile(r"https?://[^\s/?#]+[^\s#]*", re.IGNORECASE | re.ASCII)


def whole_number(low: int, high: int | None = None) -> Judgement:
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"

    def judge(value: Any) -> str | None:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if is_whole and value >= low and (high is None or value <= high):
            return None
        return f"a whole number {bounds}"

    return judge


def not_negative(value: Any) -> str | None:
    is_valid = isinstance(value, timedelta) and value >= timedelta()
    return None if is_valid else "a timedelta of zero or more"


def positive(value: Any) -> str | None:
    return None if isinstance(value, timedelta) and value > timedelta() else "a positive timedelta"


def or_none(judge: Judgement) -> Judgement:
    def judge_unless_none(value: Any) -> str | None:
        wanted = None if value is None else judge(value)
        return wanted and f"{wanted}, or None"

    return judge_unless_none


def silence_limits(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        wanted = not_negative(value)
        return wanted and f"{wanted}, or a dict of them by task type"
    is_valid = "*" in value and all(isinstance(task_type, str) for task_type in value)
    if is_valid and not any(map(or_none(not_negative), value.values())):
        return None
    return "a dict of task types, and '*' for all others, to timedeltas of zero or more, or None"


def probe(value: Any) -> str | None:
    if value is None or callable(value):
        return None
    if not isinstance(value, str):
        return "a function or its dotted path, or None"
    try:
        found = import_string(value)
    except Exception as error:  # noqa: BLE001 (whatever the module raises, it cannot be imported)
        return f"a path that can be imported ({type(error).__name__}: {error})"
    return None if callable(found) else "the path of a function"


def http_url(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and _URL.fullmatch(value)):
        return None
    return "None or a URL that begins with http:// or https://"


def header_text(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value.isascii() and value.isprintable() and value):
        return None
    return "None or a string of printable ASCII characters"


def true_or_false(value: Any) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "a string that is not empty"


def classes_with(method: str) -> Judgement:
    def judge(value: Any) -> str | None:
        if not isinstance(value, (list, tuple)) or not all(isinstance(path, str) for path in value):
            return "a list of dotted paths"
        for path in value:
            try:
                found = import_string(path)
            except Exception as error:  # noqa: BLE001 (whatever the module raises, it cannot be imported)
                return f"a list of classes that can be imported ({type(error).__name__}: {error})"
            if not isinstance(found, type) or not callable(getattr(found, method, None)):
                return f"a list of classes with the method {method}(), which {path} lacks"
        return None

    return judge


def statuses_of(meanings: Iterable[str]) -> Judgement:
    def judge(value: Any) -> str | None:
        if not isinstance(value, Mapping) or not set(value) <= set(meanings):
            return f"a dict with keys of {', '.join(meanings)}"
        for names in value.values():
            if isinstance(names, str) or not isinstance(names, Iterable):
                return "a dict of lists of statuses"
            if not all(isinstance(name, str) for name in names):
                return "a dict of lists of statuses, each a string"
        return None

    return judge


def rate(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and _RATE.fullmatch(value)):
        return None
    return "None or a rate such as '600/min': per second, min, hour or day"


def cache_alias(value: Any) -> str | None:
    return None if isinstance(value, str) and value in django_settings.CACHES else "an alias in CACHES"


def metrics_token(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) < MIN_TOKEN_LENGTH or not value.isascii():
        return f"None or at least {MIN_TOKEN_LENGTH} ASCII characters"
    return _installed("prometheus_client", "metrics")


def signing_secrets(value: Any) -> str | None:
    if not isinstance(value, Mapping) or not all(isinstance(source, str) and source for source in value):
        return "a dict of sources to lists of secrets"
    for secrets in value.values():
        if not isinstance(secrets, (list, tuple)) or not all(_is_signing_secret(key) for key in secrets):
            return "a dict of lists of secrets, each 'whsec_' and the base64 of 24 to 64 bytes"
    return _installed("standardwebhooks", "signatures") if value else None


def _is_signing_secret(value: Any) -> bool:
    if not isinstance(value, str) or not value.startswith("whsec_"):
        return False
    try:
        return 24 <= len(base64.b64decode(value.removeprefix("whsec_"), validate=True)) <= 64
    except ValueError:
        return False


def _installed(module: str, extra: str) -> str | None:
    return (
        None if find_spec(module) else f"left out, or {module} installed: pip install 'sartiq-tasks[{extra}]'"
    )
