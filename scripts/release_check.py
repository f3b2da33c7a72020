"""Build the wheel and the sdist, check what is in them, and use each in a project: ``make release-check``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
UV = str(Path(sys.executable).with_name("uv"))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
PAGE = (ROOT / "docs" / "plugging-in.md").read_text()
#: Files that an installed app needs and that are easily left out.
NEEDED = ("py.typed", "migrations/0001_initial.py", "static/", "templates/", "management/commands/")
EVENT = {
    "event_type": "training_status_update",
    "task_id": "task-1",
    "status": "running",
    "progress": 42,
    "task_type": "training",
}
DELIVER = f"""
from django.test import Client
answer = Client().post(
    "/api/v1/tasks/webhook", {EVENT!r}, "application/json", headers={{"Authorization": "Bearer " + TOKEN}}
)
print(answer.status_code, answer.json()["task_id"])
"""


def main() -> None:
    """Build and check both, and exit with the first fault."""
    shutil.rmtree(DIST, ignore_errors=True)
    _run(UV, "build", "--quiet", cwd=ROOT)
    wheel, sdist = DIST / f"sartiq_tasks-{VERSION}-py3-none-any.whl", DIST / f"sartiq_tasks-{VERSION}.tar.gz"
    wrong = [*_wrong_with_the_words(), *_wrong_with_the_contents(wheel, sdist)]
    for distribution in (wheel, sdist):
        _use(distribution)
        print(f"{distribution.name}: installed, migrated, checked, an event stored.")
    if wrong:
        sys.exit("\n".join(["Not to be released:", *wrong]))
    print(f"{VERSION} can be released.")


def _wrong_with_the_words() -> list[str]:
    version = re.escape(VERSION)
    needed = {
        "CHANGELOG.md": (rf"^## \[{version}\] - \d{{4}}-\d\d-\d\d$", f"section [{VERSION}] with a date"),
        "docs/upgrading.md": (rf"^### .*{version}", f"heading `### To {VERSION}`"),
    }
    return [
        f"- {name} has no {what}."
        for name, (pattern, what) in needed.items()
        if not re.search(pattern, (ROOT / name).read_text(), re.MULTILINE)
    ]


def _wrong_with_the_contents(wheel: Path, sdist: Path) -> list[str]:
    installed = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    with tarfile.open(sdist) as archive:
        source = [name.partition("/")[2] for name in archive.getnames()]
    wrong = [
        f"- {wheel.name} has a file outside sartiq/tasks: {name}"
        for name in installed
        if not name.startswith("sartiq/tasks/")
    ]
    for needed in NEEDED:
        if not any(name.startswith(f"sartiq/tasks/{needed}") for name in installed):
            wrong.append(f"- {wheel.name} lacks {needed}.")
        if not any(name.startswith(f"tasks/{needed}") for name in source):
            wrong.append(f"- {sdist.name} lacks {needed}.")
    return wrong


def _use(distribution: Path) -> None:
    """Do what docs/plugging-in.md says with ``distribution``, in a new environment and a new project."""
    settings, urls = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[:2]
    with tempfile.TemporaryDirectory() as place:
        here = Path(place)
        _run(UV, "venv", "--quiet", "--python", sys.executable, "env", cwd=here)
        python = str(here / "env" / "bin" / "python")
        _run(UV, "pip", "install", "--quiet", "--python", python, str(distribution), cwd=here)
        _run(python, "-m", "django", "startproject", "backend", cwd=here)
        for file, lines in (("settings", settings), ("urls", urls)):
            with (here / "backend" / "backend" / f"{file}.py").open("a") as opened:
                opened.write("\n" + re.sub(r"^   ", "", lines, flags=re.MULTILINE))

        def manage(*arguments: str) -> str:
            return _run(python, "-W", "error", "manage.py", *arguments, cwd=here / "backend")

        manage("migrate", "--verbosity", "0")
        manage("check", "--fail-level", "WARNING")
        manage("makemigrations", "--check", "--dry-run")
        token = json.loads(manage("create_compute_client", "release", "--token", "--json"))["access_token"]
        allow = "from django.conf import settings; settings.ALLOWED_HOSTS = ['testserver']\n"
        code = f"{allow}TOKEN = {token!r}\n{DELIVER}"
        answer = manage("shell", "--verbosity", "0", "--command", code).strip()
        if answer != f"200 {EVENT['task_id']}":
            sys.exit(f"{distribution.name}: the event was answered {answer}")


def _run(*command: str, cwd: Path) -> str:
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    done = subprocess.run(command, cwd=cwd, env=theirs, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:6])}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
