"""The project's settings, all from the environment and safe by default.

``docs/configuration.md`` lists the variables.
"""

from datetime import timedelta
from pathlib import Path

import environ

from .databases import database

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "oauth2_provider",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "tasks",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "tasks.middleware.deliveries_first",
    "sartiq_tasks.middleware.security_headers",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "sartiq_tasks.urls"
WSGI_APPLICATION = "sartiq_tasks.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": database("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
if env.str("REPLICA_URL", default=""):
    DATABASES["replica"] = database("REPLICA_URL")
    DATABASES["replica"]["TEST"] = {"MIRROR": "default"}
    DATABASE_ROUTERS = ["sartiq_tasks.routers.ReadFromReplica"]

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = True
LANGUAGE_CODE = "en-us"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

STATIC_URL = "static/"
STATIC_ROOT = env.path("STATIC_ROOT", default=str(BASE_DIR / "staticfiles"))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# Pages refer to each file by a name with the hash of its content.
WHITENOISE_KEEP_ONLY_HASHED_FILES = True

# A deployment is behind TLS; HTTPS=off serves plain HTTP on a developer's machine.
HTTPS = env.bool("HTTPS", default=not DEBUG)
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REDIRECT_EXEMPT = [
    r"^api/v1/tasks/webhook/?$", r"^api/v1/login/access-token/?$", r"^(metrics|healthz|readyz)$",
]  # fmt: skip
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=31_536_000 if HTTPS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = env.int("SESSION_COOKIE_AGE", default=43_200)
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True

OAUTH2_PROVIDER = {
    "SCOPES": {"tasks:webhook": "Post the status of tasks"},
    "ACCESS_TOKEN_EXPIRE_SECONDS": env.int("ACCESS_TOKEN_EXPIRE_SECONDS", default=36_000),
    # RFC 9700 demands these, and django-oauth-toolkit leaves them off. Among them is that only the checksums
    # of tokens are stored.
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
}
# The password form is part of the wire contract, because senders use it.
SILENCED_SYSTEM_CHECKS = ["oauth2_provider.W002"]
# How a sender authenticates: by a bearer token, a signature, either, or both at once.
AUTHENTICATION = {
    "token": ["tasks.auth.authentication.BearerTokenAuthentication"],
    "signature": ["tasks.auth.signatures.SignatureAuthentication"],
    "either": [
        "tasks.auth.authentication.BearerTokenAuthentication",
        "tasks.auth.signatures.SignatureAuthentication",
    ],
    "both": ["tasks.auth.signatures.SignedTokenAuthentication"],
}


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


_silent_after = env.json("SILENT_AFTER", default=900)
SARTIQ_TASKS = {
    "SILENT_AFTER": {name: _duration(limit) for name, limit in _silent_after.items()}
    if isinstance(_silent_after, dict)
    else _duration(_silent_after),
    "QUEUED_AFTER": _duration(env.float("QUEUED_AFTER", default=None)),
    "LOST_AFTER": _duration(env.float("LOST_AFTER", default=None)),
    "PROBE_URL": env.str("PROBE_URL", default="") or None,
    "PROBE_TOKEN": env.str("PROBE_TOKEN", default="") or None,
    "DATABASE_TIMEOUT": timedelta(seconds=env.float("DB_TIMEOUT", default=20)),
    "AUTHENTICATION_CLASSES": AUTHENTICATION[
        env.str("AUTHENTICATION", default="token", choices=tuple(AUTHENTICATION))
    ],
    "SIGNING_SECRETS": env.json("SIGNING_SECRETS", default={}),
    "THROTTLE_DELIVERIES": env.str("THROTTLE_DELIVERIES", default="") or None,
    "THROTTLE_FAILURES": env.str("THROTTLE_FAILURES", default="120/min") or None,
    "THROTTLE_TOKEN_REQUESTS": env.str("THROTTLE_TOKEN_REQUESTS", default="120/min") or None,
    "DISTRIBUTED": env.bool("DISTRIBUTED", default=False),
    "METRICS_TOKEN": env.str("METRICS_TOKEN", default="") or None,
}
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    # How many proxies add to X-Forwarded-For: what a client itself writes there is not trusted.
    "NUM_PROXIES": env.int("NUM_PROXIES", default=1 if HTTPS else 0),
}

# The throttles count here. Each worker has its own local memory, so a limit there is per worker.
CACHES = {"default": env.cache_url("CACHE_URL", default="locmemcache://")}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "%(levelname)s %(name)s %(message)s",
            "rename_fields": {"levelname": "level", "name": "logger"},
            "timestamp": "time",
        },
        "text": {"format": "%(levelname)s %(name)s: %(message)s"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "text" if DEBUG else "json"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        # A rejected delivery has its own line already.
        "django.request": {"level": "ERROR"},
        "sartiq_tasks.deliveries": {
            "level": "INFO" if env.bool("LOG_DELIVERIES", default=True) else "WARNING"
        },
    },
}
