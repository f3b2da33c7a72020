"""Operations for migrations that run while senders post."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.migrations.operations import AddIndex, RemoveIndex
from django.db.transaction import TransactionManagementError

#: How long an operation waits for a lock. Writers queue behind it for as long, and no longer.
LOCK_TIMEOUT = "2s"


class AddIndexBesideWriters(AddIndex):
    """Add an index; on PostgreSQL concurrently, which blocks no writer.

    The migration must have ``atomic = False``. If it gets no lock in time it fails, and can be run again.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Add the index."""
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            with _beside_writers(schema_editor):
                # An interrupted attempt leaves an invalid index behind, which nothing else removes.
                schema_editor.remove_index(model, self.index, concurrently=True)
                schema_editor.add_index(model, self.index, concurrently=True)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Remove the index."""
        if schema_editor.connection.vendor != "postgresql":
            super().database_backwards(app_label, schema_editor, from_state, to_state)
            return
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            with _beside_writers(schema_editor):
                schema_editor.remove_index(model, self.index, concurrently=True)


class RemoveIndexBesideWriters(RemoveIndex):
    """Remove an index, on PostgreSQL concurrently. The migration must have ``atomic = False``."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Remove the index."""
        self._added(from_state, app_label).database_backwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Add the index."""
        self._added(to_state, app_label).database_forwards(app_label, schema_editor, from_state, to_state)

    def _added(self, state: Any, app_label: str) -> AddIndexBesideWriters:
        index = state.models[app_label, self.model_name.lower()].get_index_by_name(self.name)
        return AddIndexBesideWriters(self.model_name, index)


@contextmanager
def _beside_writers(schema_editor: Any) -> Iterator[None]:
    """Wait no longer than ``LOCK_TIMEOUT`` for a lock within the block, which no transaction may surround."""
    if schema_editor.connection.in_atomic_block:
        raise TransactionManagementError(
            "An index is added beside writers outside a transaction: set atomic = False on the migration."
        )
    schema_editor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    try:
        yield
    finally:
        schema_editor.execute("RESET lock_timeout")
