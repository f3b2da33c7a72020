"""System checks of what a host declares in its ``task_handlers.py`` modules."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.core import checks
from django.db import DatabaseError, router, transaction
from django.utils import timezone

from ..handlers.registry import VALID_NAME, Declared, declared
from ..handlers.standing import standings
from ..lifecycle import Meaning
from ..models import Reaction, TaskStatusEvent
from .settings import has_errors


@checks.register("sartiq_tasks")
def check_handlers(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check each declaration, and that reactions are stored in the database of events."""
    handlers = declared()
    names = Counter(one.name for one in handlers)
    messages: list[checks.CheckMessage] = [
        checks.Error(f"The handler {one.name!r} {fault}.", hint=hint, obj=one.function, id=code)
        for one in handlers
        for fault, hint, code in _faults(one, names)
    ]
    if router.db_for_write(Reaction) != router.db_for_write(TaskStatusEvent):
        messages.append(
            checks.Error(
                "A router sends reactions to another database than events, but one statement stores both.",
                hint="Route all models of sartiq_tasks to one database.",
                id="sartiq_tasks.E054",
            )
        )
    return messages


def _faults(one: Declared, names: Counter[str]) -> list[tuple[str, str, str]]:
    found = []
    if names[one.name] > 1:
        found.append(("is declared twice", "Give one of them another name=.", "sartiq_tasks.E050"))
    if not VALID_NAME.fullmatch(one.name):
        hint = "Use up to 100 of A-Z, a-z, 0-9, and _ . : -, but not . or .. alone."
        found.append(("has a name that cannot be used", hint, "sartiq_tasks.E051"))
    if inspect.iscoroutinefunction(one.function):
        hint = "Write a plain function; asgiref.sync.async_to_sync() calls async code from it."
        found.append(("is an async function, which the worker does not await", hint, "sartiq_tasks.E052"))
    if unknown := (one.to or frozenset()) - set(Meaning.values):
        hint = f"Meanings are {', '.join(Meaning.values)}."
        found.append(
            (f"asks for an unknown meaning: {', '.join(sorted(unknown))}", hint, "sartiq_tasks.E053")
        )
    return found


@checks.register(checks.Tags.database)
def check_waiting(databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check that each handler for which reactions wait is declared, and that a worker serves it."""
    using, now = router.db_for_write(Reaction), timezone.now()
    if using not in (databases or ()) or has_errors():
        return []
    try:
        with transaction.atomic(using=using):
            found = standings()
    except DatabaseError:  # such as before the first migration
        return []
    messages: list[checks.CheckMessage] = []
    for one in found:
        if one.pending and not one.is_declared:
            messages.append(
                checks.Warning(
                    f"No app declares the handler {one.name!r}. Reactions that wait for it: {one.pending}.",
                    hint="Declare it again under this name=, or give up its reactions in the admin.",
                    id="sartiq_tasks.W050",
                )
            )
        if one.pending and one.is_unserved(now):
            messages.append(
                checks.Warning(
                    f"No worker serves the handler {one.name!r}. Reactions that wait for it: {one.pending}.",
                    hint="Run manage.py run_handlers.",
                    id="sartiq_tasks.W051",
                )
            )
    return messages
