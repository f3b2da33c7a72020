"""The setting ``SARTIQ_TASKS`` as one frozen, typed view, read live.

Every key is optional. It stands here once: its default, and the code and the judgement by which
``checks.settings`` judges its value at start-up. Nothing is read at import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeVar, cast

from django.conf import settings as django_settings
from django.utils.module_loading import import_string

from . import judgements as must_be

#: Characters that a text column holds: the highest ``MAX_STRING_LENGTH``.
COLUMN_LENGTH = 255

DEFAULT_STATUSES: Mapping[str, tuple[str, ...]] = {
    "queued": (
        "accepted", "created", "enqueued", "new", "pending", "queued", "received", "scheduled",
        "submitted", "waiting",
    ),
    "running": (
        "active", "executing", "in_progress", "initializing", "preparing", "processing", "progress",
        "resumed", "retrying", "running", "started", "starting", "working",
    ),
    "succeeded": ("complete", "completed", "done", "finished", "ok", "succeeded", "success", "successful"),
    "failed": (
        "crashed", "dead", "error", "errored", "failed", "failure", "killed", "lost", "oom", "rejected",
        "timed_out", "timeout",
    ),
    "cancelled": ("aborted", "canceled", "cancelled", "revoked", "skipped", "stopped", "terminated"),
}  # fmt: skip


_Default = TypeVar("_Default")


def setting(default: _Default, code: str, judge: must_be.Judgement, *, secret: bool = False) -> _Default:
    """Return the field of a setting. A value that ``judge`` finds wrong is the error ``code``."""
    own: dict[str, Any] = {"default_factory": dict} if default == {} else {"default": default}
    metadata = {"code": f"sartiq_tasks.{code}", "judge": judge}
    return cast("_Default", field(**own, repr=not secret, metadata=metadata))


@dataclass(frozen=True)
class AppSettings:
    """One reading of ``SARTIQ_TASKS``; field ``max_body_bytes`` is its key ``MAX_BODY_BYTES``, and so on."""

    #: The statuses of each meaning, in any letter case; a meaning given here replaces its defaults.
    statuses: Mapping[str, tuple[str, ...]] = setting({}, "E001", must_be.statuses_of(DEFAULT_STATUSES))
    #: A ``timestamp`` further ahead of the time of receipt than this counts as the time of receipt.
    clock_tolerance: timedelta = setting(timedelta(minutes=5), "E002", must_be.not_negative)
    #: A running task is silent if no event came for longer than this. A mapping has a limit for each task
    #: type, and under ``"*"`` for all others; a task whose limit is None is never silent.
    silent_after: timedelta | Mapping[str, timedelta | None] = setting(
        timedelta(minutes=15), "E030", must_be.silence_limits
    )
    #: The same limit for queued tasks of every type.
    queued_after: timedelta | None = setting(None, "E031", must_be.or_none(must_be.not_negative))
    #: A silent task of which the cluster tells nothing is marked as lost after this much longer; None: never.
    lost_after: timedelta | None = setting(None, "E032", must_be.or_none(must_be.positive))
    #: A function that asks the cluster about silent tasks, or its dotted path.
    probe: str | Callable[[Sequence[Any]], Iterable[Any]] | None = setting(None, "E033", must_be.probe)
    #: The address of the cluster's status API, for the built-in probe.
    probe_url: str | None = setting(None, "E034", must_be.http_url)
    #: The bearer token that the built-in probe sends.
    probe_token: str | None = setting(None, "E035", must_be.header_text, secret=True)
    #: How long the built-in probe waits for an answer.
    probe_timeout: timedelta = setting(timedelta(seconds=10), "E036", must_be.positive)
    #: The longest body, in bytes; a longer one is answered 413 before it is read whole.
    max_body_bytes: int = setting(1024 * 1024, "E003", must_be.whole_number(1))
    #: The deepest level of lists and objects inside the body's own object.
    max_nesting: int = setting(100, "E004", must_be.whole_number(1, 400))
    #: The longest string but ``error_message``, in characters.
    max_string_length: int = setting(COLUMN_LENGTH, "E005", must_be.whole_number(1, COLUMN_LENGTH))
    #: Dotted paths of DRF authentication classes, tried in order.
    authentication_classes: tuple[str, ...] = setting(
        (f"{__package__}.auth.authentication.BearerTokenAuthentication",),
        "E006",
        must_be.classes_with("authenticate"),
    )
    #: Dotted paths of DRF permission classes, all of which must allow.
    permission_classes: tuple[str, ...] = setting(
        (f"{__package__}.auth.permissions.MayPostEvents",), "E007", must_be.classes_with("has_permission")
    )
    #: How long a delivery waits for a PostgreSQL that does not answer; None sets no limit.
    database_timeout: timedelta | None = setting(
        timedelta(seconds=20), "E009", must_be.or_none(must_be.not_negative)
    )
    #: How long rejected deliveries are kept; ``prune_task_events`` deletes older ones.
    rejected_retention: timedelta = setting(timedelta(days=30), "E013", must_be.not_negative)
    #: How many rejected deliveries of one client are kept in a minute; the others are only counted.
    rejected_per_minute: int = setting(60, "E014", must_be.whole_number(0))
    #: The OAuth 2 scope that a token must have.
    scope: str = setting("tasks:webhook", "E008", must_be.text)
    #: The secrets (``whsec_...``) that sign deliveries, by the source that the events get. A source may have
    #: several, so that one can be replaced.
    signing_secrets: Mapping[str, tuple[str, ...]] = setting({}, "E020", must_be.signing_secrets, secret=True)
    #: The limit on deliveries of one token or signer, such as ``"600/min"``; None sets no limit.
    throttle_deliveries: str | None = setting(None, "E021", must_be.rate)
    #: The limit on deliveries with invalid credentials from one address.
    throttle_failures: str | None = setting(None, "E022", must_be.rate)
    #: The limit on requests from one address to the token endpoint.
    throttle_token_requests: str | None = setting(None, "E023", must_be.rate)
    #: The alias of the cache in which the throttles count.
    throttle_cache: str = setting("default", "E024", must_be.cache_alias)
    #: How often a handler is tried before its reaction is dead.
    handler_attempts: int = setting(10, "E015", must_be.whole_number(1))
    #: How long reactions stay claimed by a worker that has died.
    handler_lease: timedelta = setting(timedelta(minutes=1), "E016", must_be.positive)
    #: How often a worker looks for something to do.
    handler_poll: timedelta = setting(timedelta(milliseconds=200), "E017", must_be.positive)
    #: How long finished reactions are kept; ``prune_task_events`` deletes older ones.
    handler_retention: timedelta = setting(timedelta(days=30), "E018", must_be.not_negative)
    #: Whether ``distribute_ledger`` has spread the tables over the nodes of a Citus cluster.
    distributed: bool = setting(False, "E060", must_be.true_or_false)
    #: The bearer token that Prometheus must send; with None, metrics are neither counted nor served.
    metrics_token: str | None = setting(None, "E025", must_be.metrics_token, secret=True)

    @cached_property
    def meanings(self) -> Mapping[str, str]:
        """The meaning of each normalised status: ``{"done": "succeeded", ...}``."""
        kept = {meaning: names for meaning, names in DEFAULT_STATUSES.items() if meaning not in self.statuses}
        # The host's come last, so that they can give a status another meaning than its default.
        merged = {**kept, **self.statuses}
        return {normalise(status): meaning for meaning, names in merged.items() for status in names}

    @property
    def watches(self) -> bool:
        """Whether the watchdog has anything to do: a cluster to ask, or a time after which tasks are lost."""
        return any(one is not None for one in (self.probe, self.probe_url, self.lost_after))

    @cached_property
    def silence_limits(self) -> Mapping[str, timedelta | None]:
        """The limit of running tasks by task type, and under ``"*"`` for all others."""
        after = self.silent_after
        return {"*": None, **after} if isinstance(after, Mapping) else {"*": after}

    def silence_limit(self, meaning: str, task_type: str) -> timedelta | None:
        """Return how long such a task may send no event; None if it is never silent."""
        if meaning == "queued":
            return self.queued_after
        limits = self.silence_limits
        return limits.get(task_type, limits["*"]) if meaning == "running" else None

    @cached_property
    def authenticators(self) -> tuple[type[Any], ...]:
        """The classes that ``authentication_classes`` names."""
        return tuple(import_string(path) for path in self.authentication_classes)

    @cached_property
    def permissions(self) -> tuple[type[Any], ...]:
        """The classes that ``permission_classes`` names."""
        return tuple(import_string(path) for path in self.permission_classes)


#: The fields of ``AppSettings``, by the keys of ``SARTIQ_TASKS``.
SETTINGS: Mapping[str, Field[Any]] = {one.name.upper(): one for one in fields(AppSettings)}


def normalise(status: str) -> str:
    """Return the form in which statuses are compared: ``In-Progress`` and ``in_progress`` are one."""
    return status.strip().casefold().replace("-", "_").replace(" ", "_")


def app_settings() -> AppSettings:
    """Return the settings as they are now; they are read again if ``SARTIQ_TASKS`` is another object."""
    global _reading
    raw: Any = _read_by_django.get("SARTIQ_TASKS") or getattr(django_settings, "SARTIQ_TASKS", _DEFAULTS)
    # One tuple, so that no thread sees a new setting beside the view of an old one.
    read, view = _reading
    if raw is not read:
        given = {one.name: raw[key] for key, one in SETTINGS.items() if key in raw}
        view = AppSettings(**{name: _frozen(name, value) for name, value in given.items()})
        _reading = raw, view
    return view


def _frozen(key: str, value: Any) -> Any:
    if key.endswith("_classes"):
        return tuple(value)
    if key in ("statuses", "signing_secrets"):
        return {name: tuple(values) for name, values in value.items()}
    return value


#: The settings that Django has read; it forgets those that change. Asking it takes longer.
_read_by_django: Mapping[str, Any] = vars(django_settings)
_DEFAULTS: Mapping[str, Any] = {}
_reading = _DEFAULTS, AppSettings()
