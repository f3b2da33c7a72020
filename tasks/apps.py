"""The Django application."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class TasksConfig(AppConfig):
    """The app under the label ``sartiq_tasks``, because many backends have a ``tasks`` already."""

    # ``tasks`` in the repository, ``sartiq.tasks`` if the wheel is installed.
    name = __name__.rpartition(".")[0]
    label = "sartiq_tasks"
    verbose_name = _("Compute tasks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks and the OpenAPI extensions; import every app's ``task_handlers``."""
        from . import checks  # noqa: F401 (imported for its registrations)
        from .openapi import extensions  # noqa: F401 (imported for its registrations)

        autodiscover_modules("task_handlers")
