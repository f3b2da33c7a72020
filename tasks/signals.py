"""The signal that a host's code can receive. A handler is called again if it fails: see ``handlers``."""

from django.dispatch import Signal

__all__ = ("event_recorded",)

#: Sent after the commit, once for each event stored and never for a duplicate.
#: Arguments: ``event`` (``TaskStatusEvent``), ``task`` (``Task`` as this event left it) and
#: ``status_changed`` (bool). A receiver that raises is logged and does not affect the delivery.
event_recorded = Signal()
