"""``manage.py create_compute_client NAME``."""

from __future__ import annotations

from json import dumps
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...auth.clients import create_compute_client, issue_token


class Command(BaseCommand):
    """Create the OAuth 2 client that a compute cluster posts its events with."""

    help = (
        "Create an OAuth 2 client that may post task events, and print its id and secret. "
        "Only a hash of the secret is stored, so it is never shown again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the name and what to print."""
        parser.add_argument("name", help="the client's name, which its events have as their source")
        parser.add_argument("--token", action="store_true", help="also issue an access token, ready for use")
        parser.add_argument(
            "--json",
            action="store_true",
            help="print one JSON object with client_id, client_secret and access_token; implies --token",
        )

    def handle(self, *, name: str, token: bool, json: bool, **options: Any) -> None:
        """Create it and print it."""
        try:
            client, secret = create_compute_client(name)
        except ValueError as error:
            raise CommandError(f"{error} Choose another name, or delete that one in the admin.") from error
        shown = {"client_id": client.client_id, "client_secret": secret}
        if token or json:
            shown["access_token"] = issue_token(client)
        self.stdout.write(dumps(shown) if json else "\n".join(f"{k}: {v}" for k, v in shown.items()))
