"""Serve the project on this machine: ``make run``.

The first run makes a secret key, an admin user and a compute client, and keeps them in ``local/``,
readable by you alone; later runs on the same database show the same.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sartiq_tasks.local import ROOT, Kept
from sartiq_tasks.server import parser, reserved, serve

EVENT = {
    "event_type": "training_status_update",
    "task_id": "task-1",
    "status": "running",
    "progress": 42,
    "task_type": "training",
}


def main() -> None:
    """Set up what is missing, serve, and say how to use it."""
    options = parser().parse_args()
    with reserved(options.host, options.port):
        pass  # before anything is made
    kept = Kept()
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{ROOT / 'db.sqlite3'}")
    url = kept.use()

    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import call_command
    from django.db import Error, connections

    try:
        django.setup()
        call_command("migrate", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        login, token = _set_up(kept.of_database(url))
    except ImproperlyConfigured as error:
        sys.exit(f"The project cannot start. {error}")
    except Error as error:
        sys.exit(f"The database of DATABASE_URL cannot be used. {' '.join(str(error).split())}")
    connections.close_all()
    kept.servers[str(options.port)] = url
    kept.write()
    told = _told(f"http://127.0.0.1:{options.port}", kept.of_database(url), login, token)
    sys.exit(
        serve(
            options.host,
            options.port,
            options.workers,
            announce=lambda: print(told, flush=True),
            with_handlers=_has_handlers(),
        )
    )


def _has_handlers() -> bool:
    from tasks.conf import app_settings
    from tasks.handlers.registry import declared

    return bool(declared()) or app_settings().watches


def _set_up(kept: dict[str, str]) -> tuple[str, str]:
    """Create the admin user and the client if the database lacks them; return what to print about both."""
    from django.contrib.auth import get_user_model
    from oauth2_provider.models import get_application_model

    from tasks.auth.clients import create_compute_client, issue_token

    users = get_user_model()._default_manager
    admin = users.filter(username="admin").first()
    if admin is None:
        kept["password"] = secrets.token_urlsafe(12)
        admin = users.create_superuser("admin", password=kept["password"])
    is_ours = admin.check_password(kept.get("password", ""))
    client = get_application_model().objects.filter(client_id=kept.get("client_id")).first()
    if client is None:
        client, kept["client_secret"] = create_compute_client(f"local-{secrets.token_hex(3)}")
        kept["client_id"] = client.client_id
    password = f"password: {kept['password']}" if is_ours else "with the password that it was given"
    return f"login: admin   {password}", issue_token(client)


def _told(url: str, kept: dict[str, str], login: str, token: str) -> str:
    return f"""
Admin      {url}/admin/   {login}
API docs   {url}/api/v1/docs
Client     id: {kept["client_id"]}
           secret: {kept["client_secret"]}

Post an event:

curl -sS {url}/api/v1/tasks/webhook -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
-d '{json.dumps(EVENT)}'
"""


if __name__ == "__main__":
    main()
