"""System checks: each setting that cannot work says so before the first event does."""

from . import credentials, handlers, host, settings  # noqa: F401 (imported for their registrations)
