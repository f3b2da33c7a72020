"""The Django application."""

from django.apps import AppConfig


class TasksConfig(AppConfig):
    """The app under the label ``sartiq_tasks``, because many backends have a ``tasks`` already."""

    # ``tasks`` in the repository, ``sartiq.tasks`` where the wheel is installed.
    name = __name__.rpartition(".")[0]
    label = "sartiq_tasks"
    verbose_name = "Compute tasks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks and the OpenAPI extensions."""
        from . import checks, host_checks  # noqa: F401 (imported for their registrations)
        from .openapi import extensions  # noqa: F401 (imported for its registrations)
