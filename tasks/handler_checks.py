"""System checks of what a host declares in its ``task_handlers.py`` modules."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

from django.core import checks
from django.db import router

from .handlers.registry import VALID_NAME, Declared, declared
from .lifecycle import Meaning
from .models import Reaction, TaskStatusEvent


@checks.register("sartiq_tasks")
def check_handlers(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check each declaration, and that reactions are written where events are."""
    handlers = declared()
    messages = [
        checks.Error(f"The handler {one.name!r} {fault}.", hint=hint, obj=one.function, id=code)
        for one in handlers
        for fault, hint, code in _faults(one, Counter(other.name for other in handlers))
    ]
    if router.db_for_write(Reaction) != router.db_for_write(TaskStatusEvent):
        messages.append(
            checks.Error(
                "Reactions are routed to another database than events, with which they are stored.",
                hint="Route all models of sartiq_tasks to one database.",
                id="sartiq_tasks.E054",
            )
        )
    return [*messages]


def _faults(one: Declared, names: Counter[str]) -> list[tuple[str, str, str]]:
    found = []
    if names[one.name] > 1:
        found.append(("is declared twice", "Give one of them another name=.", "sartiq_tasks.E050"))
    if not VALID_NAME.fullmatch(one.name):
        hint = "Use up to 100 of A-Z, a-z, 0-9, and _ . : -"
        found.append(("has a name that cannot be used", hint, "sartiq_tasks.E051"))
    if inspect.iscoroutinefunction(one.function):
        hint = "Write a plain function; asgiref.sync.async_to_sync() calls async code from it."
        found.append(("is an async function, which the worker does not await", hint, "sartiq_tasks.E052"))
    if unknown := (one.to or frozenset()) - set(Meaning.values):
        hint = f"Meanings are {', '.join(Meaning.values)}."
        found.append((f"asks for {', '.join(map(repr, sorted(unknown)))}", hint, "sartiq_tasks.E053"))
    return found
