"""The argument of a handler."""

from __future__ import annotations

from functools import cached_property

from ..conf import app_settings
from ..lifecycle import Meaning, meaning_of
from ..models import Reaction, Task, TaskStatusEvent


class Change:
    """What a handler is called for: one change of a task, or one of its events."""

    def __init__(self, reaction: Reaction, using: str) -> None:
        self._reaction, self._using = reaction, using

    def __repr__(self) -> str:
        return f"<Change {self._reaction}: {self.previous} → {self.status}>"

    @property
    def task_id(self) -> str:
        """The sender's id of the task."""
        return self._reaction.task_id

    @property
    def seq(self) -> int:
        """The number of the event in its task, in the order of the commits: a greater number is later."""
        return self._reaction.seq

    @property
    def previous(self) -> str | None:
        """The task's status before; None if it had none."""
        return self._reaction.previous

    @property
    def status(self) -> str | None:
        """The task's status after."""
        return self._reaction.status

    @property
    def previous_meaning(self) -> Meaning | None:
        """The meaning of ``previous``; None if this is the task's first event."""
        if self.previous is None and self.seq == 1:
            return None
        return meaning_of(self.previous, app_settings())

    @property
    def meaning(self) -> Meaning:
        """The meaning of ``status``."""
        return meaning_of(self.status, app_settings())

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._reaction.attempt

    @property
    def is_replay(self) -> bool:
        """Whether a person had the handler called once more."""
        return self._reaction.replays > 0

    @property
    def key(self) -> str:
        """An idempotency key for a service that the handler calls: the same at every attempt."""
        return self._reaction.key

    @cached_property
    def task(self) -> Task:
        """The task as it is now, which may be later than this change."""
        return Task.objects.using(self._using).get(pk=self.task_id)

    @cached_property
    def event(self) -> TaskStatusEvent | None:
        """The event; None if it was pruned, or if no event caused the reaction."""
        if self._reaction.event_id is None:
            return None
        events = TaskStatusEvent.objects.using(self._using)
        return events.filter(task_id=self.task_id, pk=self._reaction.event_id).first()

    @property
    def is_superseded(self) -> bool:
        """Whether the task means something else by now, such as a failed task that runs again.

        For a lost task: whether it was heard from since. For one that was found: whether it is lost again.
        """
        if self._reaction.kind in (Reaction.Kind.LOST, Reaction.Kind.FOUND):
            return self.task.is_lost != (self._reaction.kind == Reaction.Kind.LOST)
        return self.task.meaning != self.meaning
