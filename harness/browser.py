"""The browser of tests and pictures."""

from __future__ import annotations

import os
import shutil

# Also as root, and with nothing but the page on the network.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
PHONE = {"width": 390, "height": 844}


def find_chromium() -> str | None:
    """Return the browser's program: the one that ``CHROMIUM`` names, otherwise the one installed."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium")
