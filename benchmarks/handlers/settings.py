"""The project as it is deployed, with a small host and django-tasks' database backend beside it."""

import os

os.environ.setdefault("SECRET_KEY", "only for the benchmark")
os.environ["HTTPS"] = "off"
os.environ["ALLOWED_HOSTS"] = "127.0.0.1"
os.environ["LOG_DELIVERIES"] = "off"

from sartiq_tasks.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks.handlers.host", "django_tasks", "django_tasks_db"]  # noqa: F405
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": []}}
# A line for each of many thousand reactions and tasks would be measured with them.
LOGGING = {"version": 1, "disable_existing_loggers": True, "root": {"level": "ERROR"}}
