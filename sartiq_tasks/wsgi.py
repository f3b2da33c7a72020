"""The WSGI application that the server runs."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sartiq_tasks.settings")

application = get_wsgi_application()

from tasks.conf import app_settings  # noqa: E402 (Django is set up now)

#: The classes that judge senders. The first delivery would import them, and be answered 500 if by then the
#: process had no file descriptor left, or a deployment had replaced their files.
judging = (*app_settings().authenticators, *app_settings().permissions)
