"""System checks: each setting that cannot work says so before the first event does."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.db import connections, router
from django.utils.module_loading import import_string
from rest_framework.authentication import BaseAuthentication
from rest_framework.settings import api_settings

from .conf import COLUMN_LENGTH, AppSettings
from .lifecycle import Meaning
from .models import TaskStatusEvent

_Judgement = Callable[[Any], str | None]

#: Characters of ``METRICS_TOKEN``, so that it cannot be guessed.
MIN_TOKEN_LENGTH = 16
_RATE = re.compile("[1-9][0-9]*/(s|sec|second|m|min|minute|h|hour|d|day)")
_URL = re.compile(r"https?://[^\s/?#]+[^\s#]*", re.IGNORECASE | re.ASCII)
#: Values of these are never shown, not even if they are invalid.
_SECRETS = {"METRICS_TOKEN", "PROBE_TOKEN", "SIGNING_SECRETS"}


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


def _some_duration(value: Any) -> str | None:
    return None if isinstance(value, timedelta) and value > timedelta() else "a timedelta of more than zero"


def _duration_or_none(value: Any) -> str | None:
    wanted = None if value is None else _duration(value)
    return wanted and f"{wanted}, or None"


def _some_duration_or_none(value: Any) -> str | None:
    wanted = None if value is None else _some_duration(value)
    return wanted and f"{wanted}, or None"


def _silence(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        wanted = _duration(value)
        return wanted and f"{wanted}, or a dict of them by task type"
    limits = [value.get("*"), *value.values()]
    is_good = all(isinstance(name, str) for name in value) and not any(map(_duration_or_none, limits))
    if is_good and "*" in value:
        return None
    return "a dict of task types, and '*' for all others, to timedeltas that are not negative, or None"


def _probe(value: Any) -> str | None:
    if value is None or callable(value):
        return None
    if not isinstance(value, str):
        return "a function or its dotted path, or None"
    try:
        found = import_string(value)
    except Exception as error:  # noqa: BLE001 (whatever the module raises, it cannot be imported)
        return f"a path that can be imported ({type(error).__name__}: {error})"
    return None if callable(found) else "the path of a function"


def _http_url(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and _URL.fullmatch(value)):
        return None
    return "None or an address that begins with http:// or https://"


def _header_text(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value.isascii() and value.isprintable() and value):
        return None
    return "None or a text of printable ASCII characters"


def _true_or_false(value: Any) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "a string that is not empty"


def _classes_with(method: str) -> _Judgement:
    def judge(value: Any) -> str | None:
        if not isinstance(value, (list, tuple)) or not all(isinstance(path, str) for path in value):
            return "a list of dotted paths"
        for path in value:
            try:
                found = import_string(path)
            except Exception as error:  # noqa: BLE001 (whatever the module raises, it cannot be imported)
                return f"a list of classes that can be imported ({type(error).__name__}: {error})"
            if not isinstance(found, type) or not callable(getattr(found, method, None)):
                return f"a list of classes with the method {method}(), which {path} is not"
        return None

    return judge


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


def _rate(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and _RATE.fullmatch(value)):
        return None
    return "None or a rate such as '600/min', of a second, min, hour or day"


def _cache_alias(value: Any) -> str | None:
    return None if isinstance(value, str) and value in django_settings.CACHES else "an alias in CACHES"


def _secret(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) < MIN_TOKEN_LENGTH or not value.isascii():
        return f"None or at least {MIN_TOKEN_LENGTH} ASCII characters"
    return _installed("prometheus_client", "metrics")


def _signing_secrets(value: Any) -> str | None:
    if not isinstance(value, Mapping) or not all(isinstance(source, str) and source for source in value):
        return "a dict of who signs to a list of secrets"
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


#: What each key of SARTIQ_TASKS must be, and the code of the error that says so.
_JUDGEMENTS: Mapping[str, tuple[str, _Judgement]] = {
    "STATUSES": ("sartiq_tasks.E001", _statuses),
    "CLOCK_TOLERANCE": ("sartiq_tasks.E002", _duration),
    "MAX_BODY_BYTES": ("sartiq_tasks.E003", _whole_number(1)),
    "MAX_NESTING": ("sartiq_tasks.E004", _whole_number(1, 400)),
    "MAX_STRING_LENGTH": ("sartiq_tasks.E005", _whole_number(1, COLUMN_LENGTH)),
    "AUTHENTICATION_CLASSES": ("sartiq_tasks.E006", _classes_with("authenticate")),
    "PERMISSION_CLASSES": ("sartiq_tasks.E007", _classes_with("has_permission")),
    "SCOPE": ("sartiq_tasks.E008", _text),
    "SILENT_AFTER": ("sartiq_tasks.E030", _silence),
    "QUEUED_AFTER": ("sartiq_tasks.E031", _duration_or_none),
    "LOST_AFTER": ("sartiq_tasks.E032", _some_duration_or_none),
    "PROBE": ("sartiq_tasks.E033", _probe),
    "PROBE_URL": ("sartiq_tasks.E034", _http_url),
    "PROBE_TOKEN": ("sartiq_tasks.E035", _header_text),
    "PROBE_TIMEOUT": ("sartiq_tasks.E036", _some_duration),
    "DATABASE_TIMEOUT": ("sartiq_tasks.E009", _duration_or_none),
    "SIGNING_SECRETS": ("sartiq_tasks.E020", _signing_secrets),
    "THROTTLE_DELIVERIES": ("sartiq_tasks.E021", _rate),
    "THROTTLE_FAILURES": ("sartiq_tasks.E022", _rate),
    "THROTTLE_TOKEN_REQUESTS": ("sartiq_tasks.E023", _rate),
    "THROTTLE_CACHE": ("sartiq_tasks.E024", _cache_alias),
    "METRICS_TOKEN": ("sartiq_tasks.E025", _secret),
    "REJECTED_RETENTION": ("sartiq_tasks.E013", _duration),
    "REJECTED_PER_MINUTE": ("sartiq_tasks.E014", _whole_number(0)),
    "HANDLER_ATTEMPTS": ("sartiq_tasks.E015", _whole_number(1)),
    "HANDLER_LEASE": ("sartiq_tasks.E016", _some_duration),
    "HANDLER_POLL": ("sartiq_tasks.E017", _some_duration),
    "HANDLER_RETENTION": ("sartiq_tasks.E018", _duration),
    "DISTRIBUTED": ("sartiq_tasks.E060", _true_or_false),
}


@checks.register("sartiq_tasks")
def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check the setting ``SARTIQ_TASKS``, key by key, and what the app needs of Django's own."""
    given: Any = getattr(django_settings, "SARTIQ_TASKS", {})
    if not isinstance(given, Mapping):
        return [checks.Error(f"SARTIQ_TASKS must be a dict, not {given!r}.", id="sartiq_tasks.E010")]
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
            given_value = "" if key in _SECRETS else f", not {value!r}"
            messages.append(checks.Error(f"SARTIQ_TASKS[{key!r}] must be {wanted}{given_value}.", id=code))
    if not django_settings.USE_TZ:
        messages.append(
            checks.Error(
                "Times of events are points in time: USE_TZ must be True.",
                hint="Set USE_TZ = True.",
                id="sartiq_tasks.E011",
            )
        )
    return messages


def _given(key: str, default: Any) -> Any:
    """Return what is set under ``key``, of whatever type: ``check_settings()`` judges that."""
    given = getattr(django_settings, "SARTIQ_TASKS", {})
    return given.get(key, default) if isinstance(given, Mapping) else default


@checks.register("sartiq_tasks")
def check_scope(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that django-oauth-toolkit knows the scope: otherwise no client can get a token for it."""
    scope = _given("SCOPE", AppSettings.scope)
    provider = getattr(django_settings, "OAUTH2_PROVIDER", None) or {}
    if _text(scope) or "SCOPES_BACKEND_CLASS" in provider or scope in (provider.get("SCOPES") or {}):
        return []
    return [
        checks.Warning(
            f"django-oauth-toolkit does not know the scope {scope!r}, so no sender can get a token for it.",
            hint=f'Add it: OAUTH2_PROVIDER = {{"SCOPES": {{{scope!r}: "Post the status of tasks"}}}}.',
            id="sartiq_tasks.W002",
        )
    ]


@checks.register("sartiq_tasks")
def check_probe(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that there is one way to ask the cluster, and a token only for the probe that sends it."""
    probe, url, token = (_given(key, None) for key in ("PROBE", "PROBE_URL", "PROBE_TOKEN"))
    if probe is not None and url is not None:
        text, hint = "PROBE and PROBE_URL are both given: PROBE alone is used.", "Leave one of them out."
    elif token is not None and url is None:
        text, hint = "PROBE_TOKEN is given without PROBE_URL, so nothing sends it.", "Set PROBE_URL."
    else:
        return []
    return [checks.Warning(text, hint=hint, id="sartiq_tasks.W030")]


@checks.register("sartiq_tasks")
def check_signatures(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that signatures and secrets come together: with only one of them no signature is accepted."""
    classes = _given("AUTHENTICATION_CLASSES", AppSettings.authentication_classes)
    if not isinstance(classes, (list, tuple)):
        return []
    is_asked = any(str(path).startswith(f"{__package__}.auth.signatures.") for path in classes)
    if is_asked == bool(_given("SIGNING_SECRETS", {})):
        return []
    return [
        checks.Warning(
            "AUTHENTICATION_CLASSES asks for signatures, but SIGNING_SECRETS is empty: every signed delivery "
            "is rejected."
            if is_asked
            else "SIGNING_SECRETS is given, but no class of AUTHENTICATION_CLASSES looks at signatures.",
            hint="See SARTIQ_TASKS in docs/how-to-sign.md.",
            id="sartiq_tasks.W003",
        )
    ]


@checks.register("sartiq_tasks")
def check_credentials(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that credentials other than django-oauth-toolkit's can lead to a user who may post."""
    classes = _given("AUTHENTICATION_CLASSES", AppSettings.authentication_classes)
    if _JUDGEMENTS["AUTHENTICATION_CLASSES"][1](classes):
        return []  # check_settings() says so
    own = f"{__package__}.auth."
    permissions = _given("PERMISSION_CLASSES", AppSettings.permission_classes)
    if all(path.startswith(own) for path in classes) or permissions != AppSettings.permission_classes:
        return []
    messages: list[checks.CheckMessage] = []
    if not hasattr(get_user_model(), "has_perm"):
        messages.append(
            checks.Warning(
                "The user model has no has_perm(), so MayPostEvents answers 403 to every user.",
                hint="Inherit django.contrib.auth.models.PermissionsMixin, or set PERMISSION_CLASSES.",
                id="sartiq_tasks.W043",
            )
        )
    first = import_string(classes[0])
    if getattr(first, "authenticate_header", None) is BaseAuthentication.authenticate_header:
        messages.append(
            checks.Warning(
                f"{classes[0]} is first and has no authenticate_header(), so a delivery without valid "
                "credentials is answered 403 instead of 401.",
                hint="Put a class first that has one.",
                id="sartiq_tasks.W044",
            )
        )
    return messages


@checks.register("sartiq_tasks")
def check_addresses(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that DRF can tell the addresses that the throttles count by."""
    number = api_settings.NUM_PROXIES
    if not (_given("THROTTLE_FAILURES", None) or _given("THROTTLE_TOKEN_REQUESTS", None)):
        return []
    if number is None or (type(number) is int and number >= 0):
        return []
    return [
        checks.Warning(
            f"No address can be told with NUM_PROXIES = {number!r}, so THROTTLE_FAILURES and "
            "THROTTLE_TOKEN_REQUESTS limit nobody behind a proxy.",
            hint='Set REST_FRAMEWORK["NUM_PROXIES"] to the number of your proxies: 0, 1 and so on.',
            id="sartiq_tasks.W046",
        )
    ]


@checks.register(checks.Tags.database)
def check_encoding(databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check that the database can hold every character that a sender may send."""
    alias = router.db_for_write(TaskStatusEvent)
    connection = connections[alias]
    if connection.vendor != "postgresql" or alias not in (databases or ()):
        return []
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        (encoding,) = cursor.fetchone()
    if encoding == "UTF8":
        return []
    return [
        checks.Warning(
            f"The database {alias!r} is in {encoding}: an event with a character that it lacks is rejected.",
            hint="Create the database with ENCODING 'UTF8'.",
            id="sartiq_tasks.W020",
        )
    ]
