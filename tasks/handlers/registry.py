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

#: Such names need no quoting, in a statement as on a command line. In the path of the handler's page in the
#: admin, browsers would resolve "." and "..".
VALID_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,100}")
DEFAULT_TIMEOUT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Declared:
    """A function of a host, and the changes that it was declared for."""

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
        """Return whether such an event may be one for it; ``meaning`` is None if it has no status."""
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
    """Call the function once for each change of a task's meaning, in order, and again until it succeeds.

    ``to`` is a ``Meaning`` or several; without it every change counts. ``task_type`` is that of the
    event. ``name`` names the handler in the database, so that the function may move; otherwise it is
    the app's and the function's. With ``atomic`` the function runs in the transaction that marks it
    as done: what it writes to the ledger's database is there exactly once. Without, it runs outside
    any transaction, at least once. ``attempts`` is ``HANDLER_ATTEMPTS`` unless given. A run longer
    than ``timeout`` has failed.
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
    """Call the function once for each event stored, late ones too; otherwise as ``on_change()``."""
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
    """Call the function once for each task that is marked as lost; otherwise as ``on_change()``."""
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
    """Call the function once for the event by which a lost task is heard of again, whatever it says.

    It is also called if the mark is taken back without an event. Otherwise as ``on_change()``.
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
    """Return every declaration, one by one, even if two share a name."""
    return list(_declared)


def by_name() -> dict[str, Declared]:
    """Return the handlers by their names; of two with the same name, the first."""
    return {one.name: one for one in reversed(_declared)}


@dataclass(frozen=True, slots=True)
class Match:
    """The handlers that an event may be one for, and the same as PostgreSQL's array literals."""

    handlers: tuple[tuple[str, str], ...]
    names: str
    kinds: str
    #: Whether one of them asks for events of lost tasks.
    finds: bool


@lru_cache(maxsize=4096)
def matching(event_type: str, task_type: str, meaning: str | None) -> Match | None:
    """Return the handlers for which such an event may be one, or None, which costs the delivery nothing."""
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
    """Return the names of the handlers that ask for the mark of lost tasks of the type, or for its end."""
    return [one.name for one in by_name().values() if one.kind == kind and one.task_type in (None, task_type)]


@contextmanager
def declaring(*, only: bool = True) -> Iterator[None]:
    """Forget at the end of the block what is declared in it; with ``only`` it knows no other."""
    before = declared()
    if only:
        _declared.clear()
    matching.cache_clear()
    try:
        yield
    finally:
        _declared[:] = before
        matching.cache_clear()
