"""The settings of a host whose ledger has a database of its own, and whose views all run in transactions."""

from pathlib import Path
from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["ledger"] = {**DATABASES["default"], "ATOMIC_REQUESTS": True}
if DATABASES["ledger"]["ENGINE"].endswith("sqlite3"):
    _PLACE = Path(DATABASES["default"]["NAME"]).parent
    DATABASES["ledger"] |= {"NAME": str(_PLACE / "ledger"), "TEST": {"NAME": str(_PLACE / "ledger.test")}}
    DATABASES["default"] |= {"TEST": {"NAME": str(_PLACE / "accounts.test")}}
else:
    DATABASES["ledger"] |= {"TEST": {"NAME": "test_ledger"}}
    DATABASES["default"] |= {"TEST": {"NAME": "test_accounts"}}
DATABASES["default"]["ATOMIC_REQUESTS"] = True
DATABASE_ROUTERS = ["tests.hosts.atomic_settings.Router"]


class Router:
    """The app's models live in ``ledger``, all others in ``default``."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        """Return the alias of the model's database."""
        return "ledger" if model._meta.app_label == "sartiq_tasks" else "default"

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Return whether the app's tables are to be made there."""
        return (app_label == "sartiq_tasks") == (db == "ledger")
