"""The project with a small host beside it, whose handlers a test may slow down."""

import os
from datetime import timedelta

from sartiq_tasks.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.handlers.shop"]  # noqa: F405
SARTIQ_TASKS = {
    **SARTIQ_TASKS,  # noqa: F405
    "HANDLER_LEASE": timedelta(seconds=float(os.environ.get("LEASE", "60"))),
    "HANDLER_POLL": timedelta(milliseconds=50),
    "PROBE_TIMEOUT": timedelta(seconds=float(os.environ.get("PROBE_TIMEOUT", "10"))),
}
if "LOCK_TIMEOUT" in os.environ:
    DATABASES["default"]["OPTIONS"]["timeout"] = float(os.environ["LOCK_TIMEOUT"])  # noqa: F405
