"""The handlers of a host, as its ``task_handlers.py`` modules declare them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from ..lifecycle import Meaning
from ..models import Reaction

if TYPE_CHECKING:
    from .change import Change

_Function = TypeVar("_Function", bound="Callable[[Change], None]")
To = Meaning | str | Iterable[Meaning | str]

#: Such a name needs no quoting, neither in SQL nor on a command line. "." and ".." are excluded, because
#: browsers would resolve them in the address of the handler's page.
VALID_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,100}")
DEFAULT_TIMEOUT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Declared:
    """A host's function, and what it was declared for."""

    name: str
    function: Callable[[Change], None]
    kind: Reaction.Kind
    to: frozenset[str] | None
    event_type: str | None
    task_type: str | None
    atomic: bool
    attempts: int | None
    timeout: timedelta

    def asks_for(self, *, event_type: str, task_type: str, meaning: str | None) -> bool:
        """Return whether the handler may ask for such an event; ``meaning`` is None if it has no status."""
        if self.task_type is not None and self.task_type != task_type:
            return False
        if self.kind == Reaction.Kind.EVENT:
            return self.event_type is None or self.event_type == event_type
        if self.kind in (Reaction.Kind.LOST, Reaction.Kind.FOUND):
            return self.kind == Reaction.Kind.FOUND
        return meaning is not None and (self.to is None or meaning in self.to)


_declared: list[Declared] = []


def on_change(
    *,
    to: To | None = None,
    task_type: str | None = None,
    name: str | None = None,
    atomic: bool = True,
    attempts: int | None = None,
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> Callable[[_Function], _Function]:
    """Call the function for each change of a task's meaning, in order, and again until it succeeds.

    ``to`` is a ``Meaning`` or several; without it every change counts. ``task_type`` is that of the
    event. ``name`` identifies the handler in the database, so that the function may move; otherwise the
    name is made of its app and its own name. With ``atomic`` the function runs in the transaction that
    marks it as done, so what it writes to the ledger's database is there exactly once. Otherwise it runs
    outside any transaction, at least once. ``attempts`` is ``HANDLER_ATTEMPTS`` unless given. A run that
    takes longer than ``timeout`` has failed.
    """
    wanted = None if to is None else frozenset([to] if isinstance(to, str) else to)
    return _declare(
        name, Reaction.Kind.CHANGE, to=wanted, event_type=None, task_type=task_type,
        atomic=atomic, attempts=attempts, timeout=timeout,
    )  # fmt: skip


def on_event(
    *,
    event_type: str | None = None,
    task_type: str | None = None,
    name: str | None = None,
    atomic: bool = True,
    attempts: int | None = None,
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> Callable[[_Function], _Function]:
    """Call the function for each event that is stored, late ones too; otherwise like ``on_change()``."""
    return _declare(
        name, Reaction.Kind.EVENT, to=None, event_type=event_type, task_type=task_type,
        atomic=atomic, attempts=attempts, timeout=timeout,
    )  # fmt: skip


def on_lost(
    *,
    task_type: str | None = None,
    name: str | None = None,
    atomic: bool = True,
    attempts: int | None = None,
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> Callable[[_Function], _Function]:
    """Call the function for each task that is marked as lost; otherwise like ``on_change()``."""
    return _declare(
        name, Reaction.Kind.LOST, to=None, event_type=None, task_type=task_type,
        atomic=atomic, attempts=attempts, timeout=timeout,
    )  # fmt: skip


def on_found(
    *,
    task_type: str | None = None,
    name: str | None = None,
    atomic: bool = True,
    attempts: int | None = None,
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> Callable[[_Function], _Function]:
    """Call the function for the first event of a lost task since it was marked, whatever it says.

    It is also called if the mark is taken back without an event. Otherwise like ``on_change()``.
    """
    return _declare(
        name, Reaction.Kind.FOUND, to=None, event_type=None, task_type=task_type,
        atomic=atomic, attempts=attempts, timeout=timeout,
    )  # fmt: skip


def _declare(name: str | None, kind: Reaction.Kind, **asked: Any) -> Callable[[_Function], _Function]:
    def register(function: _Function) -> _Function:
        of_app = function.__module__.removesuffix(".task_handlers")
        _declared.append(
            Declared(name=name or f"{of_app}.{function.__name__}", function=function, kind=kind, **asked)
        )
        matching.cache_clear()
        return function

    return register


def declared() -> list[Declared]:
    """Return every declaration, even those that share a name."""
    return list(_declared)


def by_name() -> dict[str, Declared]:
    """Return the handlers by name; of two with the same name, the first."""
    return {one.name: one for one in reversed(_declared)}


@dataclass(frozen=True, slots=True)
class Match:
    """The handlers that may ask for an event."""

    #: Name and kind of each.
    handlers: tuple[tuple[str, str], ...]
    #: Their names, and their kinds, as PostgreSQL's array literals.
    names: str
    kinds: str
    #: Whether one of them asks for events of lost tasks.
    finds: bool


@lru_cache(maxsize=4096)
def matching(event_type: str, task_type: str, meaning: str | None) -> Match | None:
    """Return the handlers that may ask for such an event, or None if there is none."""
    found = tuple(
        (one.name, one.kind.value)
        for one in by_name().values()
        if one.asks_for(event_type=event_type, task_type=task_type, meaning=meaning)
    )
    if not found:
        return None
    names, kinds = zip(*found, strict=True)
    literals = "{" + ",".join(f'"{name}"' for name in names) + "}", "{" + ",".join(kinds) + "}"
    return Match(found, *literals, finds=Reaction.Kind.FOUND.value in kinds)


def asking_for(kind: Reaction.Kind, task_type: str) -> list[str]:
    """Return the names of the handlers of ``kind``, lost or found, that ask for tasks of the type."""
    return [one.name for one in by_name().values() if one.kind == kind and one.task_type in (None, task_type)]


@contextmanager
def declaring(*, only: bool = True) -> Iterator[None]:
    """Forget at the end of the block what is declared in it; with ``only``, hide all other handlers in it."""
    before = declared()
    if only:
        _declared.clear()
    matching.cache_clear()
    try:
        yield
    finally:
        _declared[:] = before
        matching.cache_clear()
