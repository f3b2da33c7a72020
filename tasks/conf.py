"""The setting ``SARTIQ_TASKS`` as one frozen, typed view, read live.

Every key is optional. ``checks`` judges the values at start-up; nothing is read at import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.conf import settings as django_settings
from django.utils.module_loading import import_string

#: The columns are this wide; ``MAX_STRING_LENGTH`` can only be lower.
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


@dataclass(frozen=True)
class AppSettings:
    """One reading of ``SARTIQ_TASKS``; field ``max_body_bytes`` is its key ``MAX_BODY_BYTES``, and so on."""

    #: Which statuses mean what, in any letter case; a meaning given here replaces that meaning's defaults.
    statuses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: A ``timestamp`` further ahead of the time of receipt than this counts as the time of receipt.
    clock_tolerance: timedelta = timedelta(minutes=5)
    #: A running task is silent if no event of it came for longer; by task type if it is a mapping, ``"*"``
    #: for all others. None: never.
    silent_after: timedelta | Mapping[str, timedelta | None] = timedelta(minutes=15)
    #: Likewise a queued task; None lets it wait as long as it likes.
    queued_after: timedelta | None = None
    #: If nobody can tell, a silent task is marked as lost after this much longer; None: never by time alone.
    lost_after: timedelta | None = None
    #: How to ask the cluster about silent tasks: a function, or its dotted path.
    probe: Any = None
    #: The cluster's status API, for the ready probe over HTTP.
    probe_url: str | None = None
    #: Its bearer token.
    probe_token: str | None = field(default=None, repr=False)
    #: How long the ready probe waits for an answer.
    probe_timeout: timedelta = timedelta(seconds=10)
    #: Bytes of a body; a longer one is answered 413 before it is read whole.
    max_body_bytes: int = 1024 * 1024
    #: Levels of lists and objects inside the body's own object.
    max_nesting: int = 100
    #: Characters of every string but ``error_message``.
    max_string_length: int = COLUMN_LENGTH
    #: Dotted paths of DRF authentication classes, tried in order.
    authentication_classes: tuple[str, ...] = (
        f"{__package__}.auth.authentication.BearerTokenAuthentication",
    )
    #: Dotted paths of DRF permission classes, all of which must allow.
    permission_classes: tuple[str, ...] = (f"{__package__}.auth.permissions.MayPostEvents",)
    #: How long a delivery waits for a PostgreSQL that does not answer; None sets no limit.
    database_timeout: timedelta | None = timedelta(seconds=20)
    #: How long rejected deliveries are kept; ``prune_task_events`` deletes older ones.
    rejected_retention: timedelta = timedelta(days=30)
    #: How many rejected deliveries of one client are kept in a minute; those beyond are counted.
    rejected_per_minute: int = 60
    #: The OAuth 2 scope that a token must have.
    scope: str = "tasks:webhook"
    #: Who may sign deliveries, by the name their events carry as source, and with which secrets
    #: (``whsec_...``); several at once while one takes another's place.
    signing_secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    #: Deliveries of one token or signer, such as ``"600/min"``; None sets no limit, and costs nothing.
    throttle_deliveries: str | None = None
    #: Deliveries with invalid credentials from one address.
    throttle_failures: str | None = None
    #: Requests from one address to the token endpoint.
    throttle_token_requests: str | None = None
    #: The alias of the cache that the throttles count in.
    throttle_cache: str = "default"
    #: How often a handler is tried before its reaction is dead.
    handler_attempts: int = 10
    #: How long a worker that has died keeps what it had claimed.
    handler_lease: timedelta = timedelta(minutes=1)
    #: How often a worker looks for something to do.
    handler_poll: timedelta = timedelta(milliseconds=200)
    #: How long finished reactions are kept; ``prune_task_events`` deletes older ones.
    handler_retention: timedelta = timedelta(days=30)
    #: Whether ``distribute_ledger`` has spread the tables over the nodes of a Citus cluster.
    distributed: bool = False
    #: What Prometheus must send as its bearer token; None neither counts nor serves metrics.
    metrics_token: str | None = field(default=None, repr=False)

    @cached_property
    def meanings(self) -> Mapping[str, str]:
        """Normalised status to the meaning it has: ``{"done": "succeeded", ...}``."""
        kept = {meaning: names for meaning, names in DEFAULT_STATUSES.items() if meaning not in self.statuses}
        # What is given comes last, so that a status can be given another meaning than its default.
        merged = {**kept, **self.statuses}
        return {normalise(status): meaning for meaning, names in merged.items() for status in names}

    @property
    def watches(self) -> bool:
        """Whether the watchdog has anything to do: a cluster to ask, or a time after which tasks are lost."""
        return any(one is not None for one in (self.probe, self.probe_url, self.lost_after))

    @cached_property
    def silence_limits(self) -> Mapping[str, timedelta | None]:
        """How long a running task may be silent, by task type; under ``"*"`` for all others."""
        after = self.silent_after
        return {"*": None, **after} if isinstance(after, Mapping) else {"*": after}

    def silence_limit(self, meaning: str, task_type: str) -> timedelta | None:
        """Return how long such a task may be silent; None if nothing is expected of it."""
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


def normalise(status: str) -> str:
    """Return the form in which statuses are compared: ``In-Progress`` and ``in_progress`` are one."""
    return status.strip().casefold().replace("-", "_").replace(" ", "_")


def app_settings() -> AppSettings:
    """Return the settings as they are now; another ``SARTIQ_TASKS`` object makes another reading."""
    global _reading
    raw = getattr(django_settings, "SARTIQ_TASKS", _DEFAULTS)
    # Setting and view are one tuple: threads must never see a new setting beside an old view.
    read, view = _reading
    if raw is not read:
        known = AppSettings.__dataclass_fields__
        given = {key.lower(): value for key, value in raw.items() if key.lower() in known}
        view = AppSettings(**{key: _frozen(key, value) for key, value in given.items()})
        _reading = raw, view
    return view


def _frozen(key: str, value: Any) -> Any:
    if key.endswith("_classes"):
        return tuple(value)
    if key in ("statuses", "signing_secrets"):
        return {name: tuple(values) for name, values in value.items()}
    return value


_DEFAULTS: Mapping[str, Any] = {}
_reading = _DEFAULTS, AppSettings()
