"""The app in Django's admin."""

from . import event, handler, overview, reaction, rejected, task  # noqa: F401 (imported for their registrations)
