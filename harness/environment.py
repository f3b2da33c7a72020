"""An environment and a port for running the project on this machine, without TLS."""

from __future__ import annotations

import os
import socket
from pathlib import Path

ROOT = Path(__file__).parent.parent


def project_environment(database_url: str, **changes: str) -> dict[str, str]:
    """Return an environment in which the project runs on ``database_url``."""
    ours = {
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "DATABASE_URL": database_url,
        "DEBUG": "off",
        "DJANGO_SETTINGS_MODULE": "sartiq_tasks.settings",
        "HTTPS": "off",
        "SECRET_KEY": "only for tests, and long enough for every check that there is",
    }
    return {**os.environ, **ours, **changes}


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
