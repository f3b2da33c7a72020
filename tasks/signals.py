"""The signal for other code to react to."""

from django.dispatch import Signal

__all__ = ("event_recorded",)

#: Sent after the commit, once for each event stored and never for a duplicate.
#: Arguments: ``event`` (``TaskStatusEvent``), ``task`` (``Task`` as this event left it) and
#: ``status_changed`` (bool). A receiver that raises is logged and costs the delivery nothing.
event_recorded = Signal()
