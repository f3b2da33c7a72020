"""The filters of the lists. None of them reads a whole table to find its choices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from ..lifecycle import Meaning
from ..models import Reaction
from ..querysets.scans import known_values_of
from ..querysets.text import may_be_stored
from .display import duration, filter_details, shown


class Filter(admin.SimpleListFilter):
    """A filter in the bar above the list, which names its choice there."""

    template = "admin/sartiq_tasks/filter.html"
    #: What the opened filter says first.
    note: Any = ""

    def leads(self) -> bool:
        """Return whether the list is ordered by the filter's column first, for the index that serves it."""
        return False

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Return the parameters of an address that the filter reads."""
        return (str(cls.parameter_name),)

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the choices; the first one also says how the bar names the chosen one."""
        first, *rest = super().choices(changelist)
        chosen = next((one["display"] for one in rest if one["selected"]), None)
        details = filter_details(self.title, chosen, self.note, [first, *rest])
        yield {**first, "chosen": chosen, "details": details}
        yield from rest


class ValueFilter(Filter):
    """By a column's value."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the rows with the value."""
        value = self.value()
        if value is None:
            return queryset
        return self.found(queryset, value) if self.may_find(value) else queryset.none()

    def may_find(self, value: str) -> bool:
        """Return whether the database can be asked for ``value``."""
        return may_be_stored(value)

    def found(self, queryset: Any, value: str) -> Any:
        """Return the rows with ``value``, which an index finds."""
        return queryset.filter(**{str(self.parameter_name): value})


class MeaningFilter(ValueFilter):
    """By what the status means."""

    title = _("status")
    parameter_name = "meaning"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the meanings there are."""
        return [(meaning.value, meaning.label) for meaning in Meaning]


class SilentFilter(Filter):
    """By silence: tasks that are silent, marked as lost or held back, or that have probably ended."""

    title = _("silence")
    parameter_name = "silent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the choices; the first names the limit if it is the same for every silent task."""
        settings = app_settings()
        limits = {*settings.silence_limits.values(), *filter(None, [settings.queued_after])}
        length = duration(limits.pop()) if len(limits) == 1 else None
        silent = _("Silent for %(length)s") % {"length": length} if length else _("Silent")
        return [
            ("1", silent), ("lost", _("Marked as lost")), ("held", _("Held back")),
            ("ended", _("Silent, and probably ended")),
        ]  # fmt: skip

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks of the choice."""
        match self.value():
            case None:
                return queryset
            case "lost":
                return queryset.lost()
            case "held":
                return queryset.held_back()
            case "ended":
                return queryset.said_to_have_ended()
            case _:
                return queryset.silent(now=timezone.now())


class KnownValuesFilter(ValueFilter):
    """By the values that exist, found by a jump from each to the next in the index."""

    def __init__(self, request: HttpRequest, params: Any, model: type[Model], model_admin: Any) -> None:
        self.model, self.using = model, model_admin.get_queryset(request).db
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the values, with the one that is asked for, known or not."""
        values = self._known(request, model_admin)
        asked_for = self.value()
        if asked_for is not None and asked_for not in values:
            values.append(asked_for)
        return [(value, shown(value)) for value in values]

    def _known(self, request: HttpRequest, model_admin: Any) -> list[str]:
        """Return the values. The first such filter of a list asks for those of all, in one query."""
        found = vars(request).setdefault("_sartiq_tasks_known", {}).setdefault(self.model, {})
        own = str(self.parameter_name)
        if own not in found:
            others = (one for one in model_admin.get_list_filter(request) if _is_of_known_values(one))
            columns = sorted({own, *(str(one.parameter_name) for one in others)})
            found |= known_values_of(self.model, columns, using=self.using)
        return list(found[own])

    def found(self, queryset: Any, value: str) -> Any:
        """Return the rows with ``value``."""
        return queryset.with_value(self.parameter_name, value)

    def leads(self) -> bool:
        """Return whether a value is chosen. It is the same in every row, and changes no order."""
        return self.value() is not None


def _is_of_known_values(list_filter: Any) -> bool:
    return isinstance(list_filter, type) and issubclass(list_filter, KnownValuesFilter)


class TaskTypeFilter(KnownValuesFilter):
    """By task type."""

    title = _("task type")
    parameter_name = "task_type"


class ZoneFilter(KnownValuesFilter):
    """By origin zone."""

    title = _("origin zone")
    parameter_name = "origin_zone"


class ErrorCategoryFilter(KnownValuesFilter):
    """By error category."""

    title = _("error category")
    parameter_name = "error_category"


class StatusFilter(KnownValuesFilter):
    """By the sender's own word."""

    title = _("status")
    parameter_name = "status"


class SourceFilter(KnownValuesFilter):
    """By the client that sent it."""

    title = _("sender")
    parameter_name = "source"


class EventTypeFilter(KnownValuesFilter):
    """By event type."""

    title = _("event type")
    parameter_name = "event_type"


class StateFilter(ValueFilter):
    """By the state of a reaction."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states there are."""
        return list(Reaction.State.choices)

    def found(self, queryset: Any, value: str) -> Any:
        """Return the reactions in the state; an unknown word finds none."""
        return queryset.in_state(value)


class HandlerFilter(KnownValuesFilter):
    """By handler."""

    title = _("handler")
    parameter_name = "handler"
