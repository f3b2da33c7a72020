"""Access tokens: asked of the database by one query, or recalled from a delivery before.

What is recalled is the token as it was read, with the version of each row that it was made of. The
statement that stores the event confirms these in the same round trip, or stores nothing
(``record_event(if_unchanged=...)``), so that a token is good no longer than its rows are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.expressions import RawSQL
from oauth2_provider.models import get_access_token_model

from ..conf import app_settings
from ..database.row_version import RowVersion, attnames_of, copy_of, instance_of_row, kept_cursor
from ..models import TaskStatusEvent


@dataclass(frozen=True, slots=True)
class _Seen:
    """A token as it was read."""

    #: Never handed out itself: what is, whoever gets it may change or hang something on.
    access_token: Any
    #: What can confirm it; nothing where the database cannot tell.
    versions: tuple[RowVersion, ...]
    #: ``time.monotonic()`` before the query.
    at: float


# By checksum; each process has its own.
_seen: dict[str, _Seen] = {}
_MAX_SEEN = 10_000


def find(checksum: str) -> Any:
    """Return the access token with its application and user, asked of the database, or None."""
    tokens = get_access_token_model()
    connection = connections[router.db_for_read(tokens)]
    versioned = _has_versions(tokens, connection)
    at = time.monotonic()
    cursor = kept_cursor(connection)
    cursor.execute(_select_by_checksum(tokens, connection.alias, versioned), [checksum])
    row = cursor.fetchone()
    if row is None:
        _seen.pop(checksum, None)
        return None
    access_token = _access_token_of_row(tokens, row, connection)
    # What a transaction has read it may still write, and then it has the same version.
    is_committed = versioned and connection.get_autocommit()
    versions = _versions_of(tokens, row, connection) if is_committed else ()
    if versions or app_settings().token_cache:
        if len(_seen) >= _MAX_SEEN:
            _seen.clear()
        _seen[checksum] = _Seen(copy_of(access_token), versions, at)
    return access_token


def recall(checksum: str, *, to_confirm: bool) -> tuple[Any, tuple[RowVersion, ...]] | None:
    """Return the access token as it was last read, and the rows that are still to be confirmed, if any.

    None where it was not read before, or where the setting ``TOKEN_CACHE`` does not vouch for it
    and there is nothing to confirm it by, or nobody going ``to_confirm`` it.
    """
    seen = _seen.get(checksum)
    if seen is None:
        return None
    if (keep := app_settings().token_cache) and time.monotonic() - seen.at < keep.total_seconds():
        return copy_of(seen.access_token), ()
    if to_confirm and seen.versions:
        return copy_of(seen.access_token), seen.versions
    return None


def _has_versions(tokens: type[Model], connection: BaseDatabaseWrapper) -> bool:
    """Return whether the database that events are written to can tell if a token's rows have changed."""
    return (
        connection.vendor == "postgresql"
        and connection.alias == router.db_for_write(TaskStatusEvent)
        and all(_is_one_table(model) for model, _ in _parts(tokens).values())
    )


@cache
def _is_one_table(model: type[Model]) -> bool:
    # A view's rows have no version, and a row that is spread over two tables has two.
    return model._meta.managed and not cast("type[Model]", model._meta.concrete_model)._meta.parents


def _versions_of(
    tokens: type[Model], row: Sequence[Any], connection: BaseDatabaseWrapper
) -> tuple[RowVersion, ...]:
    parts = list(_parts(tokens).values())
    versions, start = [], 0
    for (model, attnames), version in zip(parts, row[-len(parts) :], strict=True):
        key = row[start + attnames.index(model._meta.pk.attname)]
        if key is not None:
            versions.append(RowVersion.of(model, key, version, connection))
        start += len(attnames)
    return tuple(versions)


#: What is judged of a token, its application and its user, and what tells who sends. Anything else, such as a
#: field of a backend's own model, is loaded when it is asked for.
_JUDGED = {
    "": ("expires", "scope", "resource", "application_id", "user_id"),
    "application": ("name", "client_id"),
    "user": ("is_active", "is_superuser"),
}


@cache
def _parts(tokens: type[Model]) -> dict[str, tuple[type[Model], tuple[str, ...]]]:
    """Return the model and the columns of each part of the query's row, by the name of its relation."""
    parts = {}
    for relation, names in _JUDGED.items():
        model = cast("type[Model]", tokens._meta.get_field(relation).related_model) if relation else tokens
        wanted = {model._meta.pk.attname, getattr(model, "USERNAME_FIELD", None), *names}
        parts[relation] = model, tuple(name for name in attnames_of(model) if name in wanted)
    return parts


@cache
def _select_by_checksum(tokens: type[Model], using: str, versioned: bool) -> str:
    """Return the query for a token with all that is judged; its parameter is the checksum.

    ``versioned``: the version of each part's row comes after all. The ORM compiles it once: to
    compile it for each request costs several times what running it does.
    """
    names = [
        f"{relation}__{name}" if relation else name
        for relation, (_, attnames) in _parts(tokens).items()
        for name in attnames
    ]
    quote = connections[using].ops.quote_name
    versions = {
        f"version{number}": RawSQL(f"{quote(model._meta.db_table)}.xmin", ())  # noqa: S611
        for number, (model, _) in enumerate(_parts(tokens).values() if versioned else ())
    }
    found = tokens._base_manager.using(using).filter(token_checksum="").annotate(**versions)
    sql: str = found.values_list(*names, *versions).query.get_compiler(using).as_sql()[0]
    return sql


def _access_token_of_row(tokens: type[Model], row: Sequence[Any], connection: BaseDatabaseWrapper) -> Any:
    instances: dict[str, Any] = {}
    start = 0
    for relation, (model, attnames) in _parts(tokens).items():
        end = start + len(attnames)
        is_there = not relation or getattr(instances[""], f"{relation}_id") is not None
        instances[relation] = (
            instance_of_row(model, row[start:end], connection, attnames) if is_there else None
        )
        start = end
    access_token = instances.pop("")
    for relation, instance in instances.items():
        # As the ORM sets what it has joined.
        tokens._meta.get_field(relation).set_cached_value(access_token, instance)  # type: ignore[union-attr]
    return access_token
