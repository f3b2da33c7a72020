"""A host on MariaDB, in which no event can be recorded: a check says so before there is a table."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from harness.environment import free_port
from harness.servers import stop, temporary_directory
from tests.hosts.environments import Host, new_project, once, python_with
from tests.programs import needed

pytestmark = once

SETTINGS = """
import pymysql
pymysql.version_info = (2, 2, 7, "final", 0)
pymysql.install_as_MySQLdb()
DATABASES = {{"default": {{
    "ENGINE": "django.db.backends.mysql", "NAME": "mysql", "USER": "root", "HOST": "127.0.0.1",
    "PORT": {port},
}}}}
INSTALLED_APPS += ["rest_framework", "oauth2_provider", "drf_spectacular", "drf_spectacular_sidecar"]
INSTALLED_APPS += ["sartiq.tasks"]
OAUTH2_PROVIDER = {{"SCOPES": {{"tasks:webhook": "Post"}}, "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True}}
"""
TABLES = (
    "from django.db import connection\n"
    "print(connection.display_name, [n for n in connection.introspection.table_names() if 'sartiq' in n])"
)


@contextmanager
def mariadb() -> Iterator[int]:
    """Run a MariaDB of the test's own; yield its port."""
    server, install = (needed(name, package="mariadb-server") for name in ("mariadbd", "mariadb-install-db"))
    is_root = psutil.Process().uids().effective == 0
    with temporary_directory() as place:
        place.chmod(0o755)
        data = place / "data"
        data.mkdir()
        if is_root:
            shutil.chown(data, "mysql")
        user = ["--user=mysql"] if is_root else []
        made = [
            install,
            "--no-defaults",
            *user,
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
        ]
        subprocess.run(made, check=True, capture_output=True, timeout=300)
        port = free_port()
        command = [server, "--no-defaults", *user, f"--datadir={data}", f"--socket={data}/socket",
            f"--port={port}", "--bind-address=127.0.0.1"]  # fmt: skip
        process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield port
        finally:
            stop(process)


def when_it_answers(host: Host) -> str:
    for _ in range(60):
        try:
            return host.shell(TABLES)
        except AssertionError:  # it still starts
            time.sleep(1)
    return host.shell(TABLES)


def test_check_and_migrate_end_in_a_line(tmp_path: Path) -> None:
    with mariadb() as port:
        host = new_project(tmp_path, python_with("PyMySQL"))
        host.write("backend/settings.py", SETTINGS.format(port=port), append=True)
        assert when_it_answers(host) == "MariaDB []\n"

        for command in ("check", "migrate", "check --database default"):
            said = host.manage(*command.split(), status=1)
            assert "(sartiq_tasks.E040) Events cannot be recorded in MariaDB (the database 'default')" in said
            assert "Traceback" not in said
        assert host.shell(TABLES) == "MariaDB []\n"
