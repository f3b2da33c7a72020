"""Route the admin's reads to a replica."""

from __future__ import annotations

from typing import Any

APP = "sartiq_tasks"


class ReadFromReplica:
    """The app's reads, which are the admin's, go to the replica; everything else stays on the primary.

    What recording, rebuilding and pruning read they read where they write. Tokens, users and
    sessions are read from the primary, so that a revoked token is rejected at once.
    """

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """Return the replica for the app's own models."""
        return "replica" if model._meta.app_label == APP else None

    def db_for_write(self, model: Any, **hints: Any) -> str:
        """Return the primary."""
        return "default"

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        """Allow all: the two hold the same rows."""
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Migrate only the primary; the replica follows it."""
        return db != "replica"
