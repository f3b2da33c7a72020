"""The browser that the tests use, and the script that takes the pictures."""

from __future__ import annotations

import os
import shutil

# The browser runs even as root, and sends nothing but the page's own requests.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
PHONE = {"width": 390, "height": 844}


def find_chromium() -> str | None:
    """Return the browser's program: the one that ``CHROMIUM`` names, otherwise the one installed."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium")
