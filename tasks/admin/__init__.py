"""The app in Django's admin."""

from . import event, rejected, task  # noqa: F401 (imported for their registrations)
