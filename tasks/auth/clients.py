"""The OAuth 2 applications that senders use, made with django-oauth-toolkit's models."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol, cast

from django.db import connections, router, transaction
from django.utils import timezone
from oauth2_provider.generators import generate_client_secret
from oauth2_provider.models import get_access_token_model, get_application_model, set_token_value
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import generate_token

from ..conf import app_settings

__all__ = ("ComputeClient", "compute_client", "create_compute_client", "issue_token")

#: The id of the client for the original's password form, which names no client.
PASSWORD_CLIENT_ID = "sartiq-password-form"  # noqa: S105 (an id, not a password)


class ComputeClient(Protocol):
    """What callers see of a client: an instance of the host's OAuth 2 application model."""

    pk: Any
    client_id: str
    name: str


def create_compute_client(name: str) -> tuple[ComputeClient, str]:
    """Create a confidential client for ``client_credentials``; return it and its secret.

    The secret is stored hashed, so it can be seen only now. Raises ``ValueError`` if a client of that name
    exists, because the name is the ``source`` of its events.
    """
    applications, secret = get_application_model(), generate_client_secret()
    using = router.db_for_write(applications)
    clients = applications.objects.using(using)
    with transaction.atomic(using=using):
        if connections[using].vendor == "postgresql":
            with connections[using].cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [name])
        # Writing first takes SQLite's lock, and no other client can come in between.
        client = clients.create(
            name=name,
            client_type="confidential",
            authorization_grant_type="client-credentials",
            client_secret=secret,
        )
        if clients.filter(name=name).exclude(pk=client.pk).exists():
            raise ValueError(f"There is a client named {name!r} already.")
    return client, secret


def compute_client(name: str) -> ComputeClient:
    """Return the client that ``create_compute_client`` made; raise ``LookupError`` if there is none."""
    clients = get_application_model().objects.filter(name=name, authorization_grant_type="client-credentials")
    if client := clients.order_by("pk").first():
        return cast("ComputeClient", client)
    raise LookupError(f"There is no client named {name!r}.")


def issue_token(client: ComputeClient) -> str:
    """Return a new access token of ``client`` with the webhook's scope and the usual lifetime."""
    token = generate_token()
    lifetime = timedelta(seconds=oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS)
    access_token = get_access_token_model()(
        application=client, scope=app_settings().scope, expires=timezone.now() + lifetime
    )
    # It stores only the checksum if django-oauth-toolkit is set up for that (RFC 9700, section 4).
    set_token_value(access_token, token)
    access_token.save()
    return token


def password_client() -> Any:
    """Return the public client of the password form; create it on first use."""
    client, _ = get_application_model().objects.get_or_create(
        client_id=PASSWORD_CLIENT_ID,
        defaults={
            "name": "Password form",
            "client_type": "public",
            "authorization_grant_type": "password",
            "client_secret": "",
        },
    )
    return client
