"""Serve the project on this machine: ``make run``.

The first run makes a secret key, an admin user and a compute client, and keeps them in ``local/``,
readable by you alone; later runs show the same.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / "local" / "run.json"
EVENT = {
    "event_type": "training_status_update",
    "task_id": "task-1",
    "status": "running",
    "progress": 42,
    "task_type": "training",
}


def main() -> None:
    """Set up what is missing, say how to use it, and become the server."""
    kept = json.loads(LOCAL.read_text()) if LOCAL.exists() else {"secret_key": secrets.token_urlsafe(50)}
    port = os.environ.setdefault("PORT", "8000")
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{ROOT / 'db.sqlite3'}")
    os.environ.setdefault("SECRET_KEY", kept["secret_key"])
    os.environ.setdefault("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
    os.environ.setdefault("HTTPS", "off")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sartiq_tasks.settings")
    sys.path.insert(0, str(ROOT))

    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    token = _set_up(kept)
    LOCAL.parent.mkdir(exist_ok=True)
    LOCAL.touch(mode=0o600)
    LOCAL.write_text(json.dumps(kept, indent=1))
    _tell(f"http://127.0.0.1:{port}", kept, token)
    os.environ.setdefault("GRANIAN", str(Path(sys.executable).with_name("granian")))
    os.execv("/usr/bin/env", ["env", "bash", str(ROOT / "scripts" / "serve")])


def _set_up(kept: dict[str, Any]) -> str:
    """Make the admin user and the client where this database lacks them; return a fresh token."""
    from django.contrib.auth import get_user_model
    from oauth2_provider.models import get_application_model

    from tasks.auth.clients import create_compute_client, issue_token

    users = get_user_model()._default_manager
    kept.setdefault("password", secrets.token_urlsafe(12))
    if not users.filter(username="admin").exists():
        users.create_superuser("admin", password=kept["password"])
    client = get_application_model().objects.filter(client_id=kept.get("client_id")).first()
    if client is None:
        client, kept["client_secret"] = create_compute_client(f"local-{secrets.token_hex(3)}")
        kept["client_id"] = client.client_id
    return issue_token(client)


def _tell(url: str, kept: dict[str, Any], token: str) -> None:
    print(
        f"""
Admin      {url}/admin/   login: admin   password: {kept["password"]}
API docs   {url}/api/v1/docs
Client     id: {kept["client_id"]}
           secret: {kept["client_secret"]}

Post an event:

curl -sS {url}/api/v1/tasks/webhook -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
-d '{json.dumps(EVENT)}'
""",
        flush=True,
    )


if __name__ == "__main__":
    main()
