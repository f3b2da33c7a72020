"""Make the pictures in ``docs/images``: ``make screenshots``.

A server of its own gets what a simulated cluster sends; a headless Chromium looks at it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402
from tqdm import tqdm  # noqa: E402

from harness.browser import ARGUMENTS, PHONE, find_chromium  # noqa: E402
from harness.servers import manage, serving  # noqa: E402

IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 300_000
DESK = {"width": 1440, "height": 900}
SIMULATION = [
    "--tasks=150", "--rate=400", "--hours=3", "--seed=11", "--duplicate=0.05",
    "--shuffle=0.03", "--late=0.01",
]  # fmt: skip
LOGIN = "pictures"
DASHBOARD = "/admin/sartiq_tasks/task/"
OVERVIEW = "/admin/sartiq_tasks/overview/"
FAILED = f"{DASHBOARD}?meaning=failed&task_type=training"
EVENTS = "/admin/sartiq_tasks/taskstatusevent/"
#: File, address, whether to open the first row of the list there, and the browser's options.
PICTURES: list[tuple[str, str, bool, dict[str, Any]]] = [
    ("dashboard", DASHBOARD, False, {}),
    ("task", FAILED, True, {}),
    ("event", f"{EVENTS}?status=failed", True, {}),
]
#: Likewise those of two weeks.
HISTORY: list[tuple[str, str, bool, dict[str, Any]]] = [
    ("overview", OVERVIEW, False, {"viewport": DESK}),
    ("overview-phone", OVERVIEW, False, {"viewport": PHONE}),
]


def main() -> None:
    """Serve, simulate, and take each picture."""
    program = find_chromium()
    if program is None:
        sys.exit("There is no browser: install Debian's package chromium, or name one in CHROMIUM.")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        static = f"{directory}/static"
        for name, fill, pictures in (("now", _simulate, PICTURES), ("history", _fill, HISTORY)):
            database = f"sqlite:///{directory}/{name}.sqlite3"
            manage("collectstatic", "--no-input", "--verbosity=0", database_url=database, STATIC_ROOT=static)
            with serving(database, STATIC_ROOT=static) as server, sync_playwright() as playwright:
                user = {"DJANGO_SUPERUSER_PASSWORD": LOGIN, "DJANGO_SUPERUSER_EMAIL": ""}
                manage("createsuperuser", "--no-input", f"--username={LOGIN}", database_url=database, **user)
                fill(server.url, database)
                browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
                for picture in tqdm(pictures, unit="picture"):
                    _take(browser, server.url, *picture)
                browser.close()


def _fill(url: str, database: str) -> None:
    code = "from scripts.history import fill; fill()"
    manage("shell", "--command", code, database_url=database)


def _simulate(url: str, database: str) -> None:
    made = json.loads(manage("create_compute_client", LOGIN, "--json", database_url=database))
    client = [f"--client-id={made['client_id']}", f"--client-secret={made['client_secret']}"]
    print(manage("simulate_compute", f"--url={url}", *client, *SIMULATION, database_url=database))


def _take(browser: Browser, url: str, name: str, path: str, opens_row: bool, options: dict[str, Any]) -> None:
    context = browser.new_context(
        base_url=url, **({"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"} | options)
    )
    page: Page = context.new_page()
    page.goto("/admin/login/")
    page.fill("#id_username", LOGIN)
    page.fill("#id_password", LOGIN)
    page.click("[type=submit]")
    page.goto(path)
    if opens_row:
        page.click("#result_list tbody tr:first-child th a")
    page.wait_for_load_state("networkidle")
    while page.locator(".st-missing").count():
        page.reload()
    file = IMAGES / f"{name}.png"
    page.screenshot(path=file)
    if file.stat().st_size > MAX_BYTES:
        sys.exit(f"{file} has more than {MAX_BYTES} bytes: show less on it.")
    context.close()


if __name__ == "__main__":
    main()
