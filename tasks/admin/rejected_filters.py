"""The filters of the list of rejected deliveries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..serializers import task_status_event
from .faults import WORDS, label
from .filters import SourceFilter, ValueFilter
from .linked_filters import LinkedFilter


class RejectedSourceFilter(SourceFilter):
    """By the client that sent it."""

    def found(self, queryset: Any, value: str) -> Any:
        """Return the client's deliveries."""
        return queryset.filter(source=value)


class AnswerFilter(ValueFilter):
    """By the status of the answer."""

    title = _("answer")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return what a delivery is rejected with."""
        return [
            ("413", _("413, too large")),
            ("415", _("415, not declared as JSON")),
            ("422", _("422, invalid")),
        ]

    def may_find(self, value: str) -> bool:
        """Return whether it is one of the answers."""
        return value in dict(self.lookup_choices)


class OutcomeFilter(ValueFilter):
    """By whether it still needs somebody, and why not."""

    title = _("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the outcomes there are."""
        return [
            ("open", _("Open: neither sent again nor settled")),
            ("sent", _("Sent again by the sender, and accepted")),
            ("tried", _("Tried again by staff, and accepted")),
            ("settled", _("Settled by staff")),
        ]


class FaultFilter(ValueFilter):
    """By a part of the faults. The choices are fixed, because looking for them would read the whole table."""

    names: ClassVar[Iterable[str]]
    #: How a name stands in the column.
    written: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the names there are."""
        return [(name, name) for name in self.names]

    def may_find(self, value: str) -> bool:
        """Return whether it is one of the names."""
        return value in self.names

    def found(self, queryset: Any, value: str) -> Any:
        """Return the deliveries with the chosen one."""
        return queryset.filter(faults__contains=self.written.format(value))


class FieldFilter(FaultFilter):
    """By the field that was wrong."""

    title = _("field")
    parameter_name = "field"
    names = ("body", *map(str, task_status_event.fields))
    written = " {}:"


class ErrorTypeFilter(FaultFilter):
    """By the type of error."""

    title = _("error type")
    parameter_name = "error_type"
    names = WORDS
    written = ":{} "

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return each type in words, with its name."""
        return [(name, f"{words} ({name})") for name, words in WORDS.items()]


class NamedTaskFilter(LinkedFilter):
    """Those whose body names one task: its page leads to them."""

    title = _("task")
    parameter_name = "named_task"


class GroupFilter(LinkedFilter):
    """By a fault, which is a field and a type of error: each count above the list leads to one."""

    title = _("fault")
    parameter_name = "fault"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the fault that is asked for, in words."""
        return [(value, label(value)) for value, _told in super().lookups(request, model_admin)]

    def found(self, queryset: Any, value: str) -> Any:
        """Return the deliveries with the fault."""
        return queryset.filter(faults__contains=f" {value} ")
