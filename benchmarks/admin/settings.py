"""The project as it is deployed, on the benchmark's own database."""

import os

os.environ.setdefault("SECRET_KEY", "only for the benchmark")
os.environ["HTTPS"] = "off"
os.environ["ALLOWED_HOSTS"] = "testserver"
# To fill the ledger takes long, and so does the stock admin.
os.environ["DB_STATEMENT_TIMEOUT_MS"] = "0"

from sartiq_tasks.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.admin.urls"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
