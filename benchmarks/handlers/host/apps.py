"""The host's one app."""

from django.apps import AppConfig


class Host(AppConfig):
    """An app that keeps effects."""

    name = "benchmarks.handlers.host"
    label = "benchmark_host"
    default_auto_field = "django.db.models.BigAutoField"
