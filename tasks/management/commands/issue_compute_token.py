"""``manage.py issue_compute_token NAME``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...auth.clients import compute_client, issue_token


class Command(BaseCommand):
    """Issue another access token of a client that exists."""

    help = (
        "Issue another access token to a client that create_compute_client has made, and print it. The "
        "client's other tokens stay valid until they expire."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the name."""
        parser.add_argument("name", help="the client's name")

    def handle(self, *, name: str, **options: Any) -> None:
        """Issue it and print it."""
        try:
            client = compute_client(name)
        except LookupError as error:
            raise CommandError(f"{error} Create it: manage.py create_compute_client {name}") from error
        self.stdout.write(issue_token(client))
