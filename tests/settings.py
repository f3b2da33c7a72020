"""The project's own settings, with a test's secret and a test's database."""

import os

from tests.databases import is_citus, place, test_database_url

os.environ["SECRET_KEY"] = "only for tests"
os.environ["DATABASE_URL"] = test_database_url()
os.environ["DISTRIBUTED"] = "on" if is_citus() else "off"
os.environ["DEBUG"] = "off"
os.environ["HTTPS"] = "off"
os.environ["THROTTLE_FAILURES"] = os.environ["THROTTLE_TOKEN_REQUESTS"] = ""
os.environ["STATIC_ROOT"] = str(place("static"))
os.environ["ALLOWED_HOSTS"] = "testserver,.localhost,127.0.0.1"

from sartiq_tasks.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # noqa: F405
    # A file, as in production: threads and servers of a test share it.
    DATABASES["default"]["TEST"] = {"NAME": f"{DATABASES['default']['NAME']}.test"}  # noqa: F405
elif is_citus():
    DATABASES["default"]["TEST"] = {"NAME": f"test_{DATABASES['default']['NAME']}"}  # noqa: F405
    # In the one transaction of a test users are changed after tasks were read, which Citus allows so only.
    DATABASES["default"]["OPTIONS"]["options"] += " -c citus.multi_shard_modify_mode=sequential"  # noqa: F405
elif environment := os.environ.get("TOX_ENV_NAME"):
    # Several may run at once, on the one server of TEST_DATABASE_URL.
    DATABASES["default"]["TEST"] = {"NAME": f"test_{environment.replace('-', '_')}"}  # noqa: F405
