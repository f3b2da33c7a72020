"""The settings of the textbook peer."""

import os

SECRET_KEY = "the textbook keeps no secret"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "oauth2_provider",
    "rest_framework",
    "benchmarks.ingest.peers.textbook",
]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "benchmarks.ingest.peers.textbook.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["POSTGRES_NAME"],
        "HOST": os.environ["POSTGRES_HOST"],
        "USER": "postgres",
        "CONN_MAX_AGE": None,
    }
}
USE_TZ = True
OAUTH2_PROVIDER = {"SCOPES": {"tasks:webhook": "Post the status of tasks"}}
