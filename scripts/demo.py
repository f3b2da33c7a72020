"""Play a cluster against the server of ``make run``: ``make demo``.

What follows goes to ``manage.py simulate_compute``, such as ``--tasks 500 --rate 100``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / "local" / "run.json"
DEFAULTS = ["--tasks", "60", "--rate", "20", "--duplicate", "--shuffle", "--late", "--malformed", "0.02"]


def main() -> None:
    """Run the command with the client that ``make run`` made."""
    if not LOCAL.exists():
        sys.exit("There is no local/run.json: start the server first, with `make run` in another terminal.")
    kept = json.loads(LOCAL.read_text())
    os.environ.setdefault("SECRET_KEY", kept["secret_key"])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sartiq_tasks.settings")
    sys.path.insert(0, str(ROOT))
    url = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
    print(
        f"Watch {url}/admin/sartiq_tasks/task/ meanwhile. Login: admin, password: {kept['password']}",
        flush=True,
    )
    client = ["--client-id", kept["client_id"], "--client-secret", kept["client_secret"]]

    from django.core.management import execute_from_command_line

    execute_from_command_line(
        ["manage.py", "simulate_compute", "--url", url, *client, *DEFAULTS, *sys.argv[1:]]
    )


if __name__ == "__main__":
    main()
