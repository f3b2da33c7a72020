"""Access tokens: read from the database, or cached from an earlier delivery.

A cached token comes with the condition that nothing has changed by which it, its application and its user are
judged. ``confirmation`` says who may use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from django.db.models import Model
from django.db.models.base import ModelState
from oauth2_provider.models import get_access_token_model

from .confirmation import Condition, alias_to_confirm, condition_that_exists

#: The columns by which a token is judged, and those that name the sender. Any other, such as a column of a
#: host's own model, is loaded on use, at each delivery.
_JUDGED = {
    "": ("token_checksum", "expires", "scope", "resource", "application_id", "user_id"),
    "application": ("name", "client_id"),
    "user": ("is_active", "is_superuser"),
}


@dataclass(slots=True)
class _Known:
    access_token: Any
    #: Compiled on first use, because that is slow.
    unchanged: Condition | None = None


# By alias and checksum; each process has its own.
_known: dict[tuple[str, str], _Known] = {}
_MAX_KNOWN = 10_000


def find(checksum: str) -> Any:
    """Return the access token with its application and user as the database has them, or None."""
    tokens = get_access_token_model()
    loaded = tokens._base_manager.select_related("application", "user").only(*_lookups(tokens))
    access_token = loaded.filter(token_checksum=checksum).first()
    if alias := alias_to_confirm(tokens):
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        if access_token is None:
            _known.pop((alias, checksum), None)
        else:
            _known[alias, checksum] = _Known(_copy_of(access_token))
    return access_token


def cached(checksum: str) -> tuple[Any, Condition] | None:
    """Return the access token as it was last read, and the condition that it is unchanged, or None."""
    alias = alias_to_confirm(get_access_token_model())
    known = _known.get((alias, checksum)) if alias else None
    if known is None:
        return None
    if known.unchanged is None:
        known.unchanged = _unchanged(known.access_token, str(alias))
    return _copy_of(known.access_token), known.unchanged


@cache
def _lookups(tokens: type[Model]) -> tuple[str, ...]:
    """Return ``_JUDGED`` as the ORM's lookups from a token."""
    lookups = []
    for relation, names in _JUDGED.items():
        model = cast("type[Model]", tokens._meta.get_field(relation).related_model) if relation else tokens
        wanted = {getattr(model, "USERNAME_FIELD", None), *names}
        columns = [field.attname for field in model._meta.concrete_fields if field.attname in wanted]
        lookups += [f"{relation}__{column}" if relation else column for column in columns]
    return tuple(lookups)


def _unchanged(access_token: Any, using: str) -> Condition:
    tokens: type[Model] = type(access_token)
    values = {}
    for lookup in _lookups(tokens):
        relation, _, column = lookup.rpartition("__")
        owner = getattr(access_token, relation) if relation else access_token
        # The client id identifies the application.
        if owner is not None and not (column == "application_id" and access_token.application):
            values[lookup] = getattr(owner, column)
    return condition_that_exists(tokens._base_manager.using(using).filter(**values))


def _copy_of(instance: Any) -> Any:
    """Return a copy of ``instance`` and of its related instances, which the caller may modify.

    ``copy.copy()`` would share the related ones, and is slower: docs/performance-runs.md.
    """
    copied = object.__new__(type(instance))
    state = ModelState()
    state.adding, state.db = instance._state.adding, instance._state.db
    state.fields_cache = {
        name: related and _copy_of(related) for name, related in instance._state.fields_cache.items()
    }
    copied.__dict__.update(instance.__dict__, _state=state)
    return copied
