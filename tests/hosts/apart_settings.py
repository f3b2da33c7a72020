"""The settings of a host that has no default database: every model is routed to another one."""

from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["own"] = DATABASES["default"] | {
    "TEST": {
        "NAME": "test_apart" if "postgresql" in DATABASES["default"]["ENGINE"] else None,
        "DEPENDENCIES": [],
    }
}
DATABASES["default"] = {}
DATABASE_ROUTERS = ["tests.hosts.apart_settings.Router"]


class Router:
    """All models live in ``own``."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        """Return its alias."""
        return "own"

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Return whether tables are to be made there."""
        return db == "own"
