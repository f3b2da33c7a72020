"""Make the textbook peer's tables and a client; print a token."""

from datetime import timedelta

import django
from django.core.management import call_command
from django.utils import timezone

django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)

from oauth2_provider.models import AccessToken, Application  # noqa: E402 (needs the apps)

client = Application.objects.create(
    name="cluster",
    client_type=Application.CLIENT_CONFIDENTIAL,
    authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
)
AccessToken.objects.create(
    application=client,
    token="textbook",
    scope="tasks:webhook",
    expires=timezone.now() + timedelta(days=1),
)
print("textbook")
