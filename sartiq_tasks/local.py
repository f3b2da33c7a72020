"""The secrets that ``make run`` keeps in ``local/run.json``, which only you can read."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "local" / "run.json"


class Kept:
    """The secrets of ``make run``: one key, and for each database a password and a client."""

    def __init__(self) -> None:
        kept: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
        self.secret_key: str = kept.get("secret_key") or secrets.token_urlsafe(50)
        #: The URL of the database of the server that was last started on a port.
        self.servers: dict[str, str] = kept.get("servers", {})
        self.databases: dict[str, dict[str, str]] = kept.get("databases", {})

    def of_database(self, url: str) -> dict[str, str]:
        """Return what was created in the database ``url``, to read it and change it."""
        return self.databases.setdefault(url, {})

    def use(self) -> str:
        """Set what the environment lacks for a server on ``PORT``; return the URL of its database."""
        default = f"sqlite:///{ROOT / 'db.sqlite3'}"
        url = os.environ.setdefault("DATABASE_URL", self.servers.get(os.environ.get("PORT", "8000"), default))
        os.environ.setdefault("SECRET_KEY", self.secret_key)
        os.environ.setdefault("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
        os.environ.setdefault("HTTPS", "off")
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sartiq_tasks.settings")
        return url

    def write(self) -> None:
        """Write the file."""
        FILE.parent.mkdir(exist_ok=True)
        FILE.touch(mode=0o600)
        FILE.write_text(json.dumps(vars(self), indent=1))
