"""The signal that a host's code can receive. A handler is called again if it fails: see ``handlers``."""

from typing import Any

from django.dispatch import Signal

__all__ = ("event_recorded",)


class _EventRecorded(Signal):
    def _log_robust_failure(self, receiver: Any, err: Exception) -> None:
        """Do nothing: ``ledger.recording`` logs it. Django would, and fails if the receiver has no name."""


#: Sent after the commit, once for each event stored and never for a duplicate.
#: Arguments: ``event`` (``TaskStatusEvent``), ``task`` (``Task`` as this event left it) and
#: ``status_changed`` (bool). A receiver that raises is logged and does not affect the delivery.
event_recorded = _EventRecorded()
