"""What lies in deploy/ is what it says: nginx and systemd read it, and the numbers agree with the app's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import django
import psutil
import pytest
import requests
import yaml
from django.core.management import get_commands

from tasks.conf import AppSettings
from tests.programs import needed
from tests.servers import ROOT, free_port, stop, temporary_directory, wait_for_port

DEPLOY = ROOT / "deploy"


def test_nginx_and_the_app_have_one_limit() -> None:
    configuration = (DEPLOY / "nginx" / "webhook.conf").read_text()

    limit = re.search(r"client_max_body_size (\d+)m;", configuration)
    assert limit
    assert int(limit[1]) * 1024 * 1024 == AppSettings().max_body_bytes
    assert f"longer than {AppSettings().max_body_bytes} bytes" in configuration


def site_configuration(directory: Path, port: int = 8080) -> Path:
    """Write a configuration with the site that is deployed, whose plain HTTP is at ``port``."""
    site = (DEPLOY / "nginx" / "sartiq-tasks.conf").read_text()
    # There is no certificate here, and the repository is not in /opt.
    site = re.sub(r"^ *ssl_certificate.*\n", "", site, flags=re.MULTILINE)
    site = site.replace("443 ssl", f"unix:{directory}/tls")
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};").replace("/opt/sartiq-tasks", str(ROOT))
    configuration = directory / "nginx.conf"
    http = f"access_log off; {site}"
    configuration.write_text(f"pid {directory}/pid; error_log stderr; events {{}} http {{ {http} }}")
    return configuration


def test_nginx_reads_the_site(tmp_path: Path) -> None:
    program = needed("nginx", package="nginx-light")
    configuration = site_configuration(tmp_path)

    done = subprocess.run(
        [program, "-t", "-e", "stderr", "-c", str(configuration)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_the_site_speaks_http_1_alone_as_the_hostile_requests_do() -> None:
    """Under HTTP/2 nginx resets what it answers early, and some senders then hear nothing."""
    for path in (DEPLOY / "nginx").iterdir():
        assert not re.search(r"^ *(listen\b.*\bhttp2|http2\b)", path.read_text(), flags=re.MULTILINE)


def test_the_site_redirects_browsers_and_tells_senders_of_plain_http_what_to_do() -> None:
    program = needed("nginx", package="nginx-light")
    port = free_port()
    with temporary_directory() as here:
        configuration = site_configuration(here, port)
        process = psutil.Popen(
            [program, "-e", "stderr", "-g", "daemon off;", "-c", str(configuration)],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for_port(port, process)
            url = f"http://127.0.0.1:{port}/api/v1/tasks/webhook"
            page = requests.get(url, allow_redirects=False, timeout=60)
            posts = [requests.request(method, url, timeout=60) for method in ("POST", "PUT")]
        finally:
            stop(process)

    assert (page.status_code, page.headers["Location"]) == (301, "https://127.0.0.1/api/v1/tasks/webhook")
    for answer in posts:
        assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/json")
        assert answer.json() == {"detail": "Send it to https://."}


@pytest.mark.parametrize("name", sorted(path.name for path in (DEPLOY / "systemd").iterdir()))
def test_systemd_reads_the_unit(name: str, tmp_path: Path) -> None:
    program = needed("systemd-analyze", package="systemd")
    unit = (DEPLOY / "systemd" / name).read_text()
    # The paths and the user are those of an installation; here only the grammar and the options count.
    unit = re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", unit, flags=re.MULTILINE)
    unit = re.sub(r"^(User|Group|Documentation)=.*\n", "", unit, flags=re.MULTILINE)
    there = tmp_path / name
    there.write_text(unit)

    done = subprocess.run(
        [program, "verify", "--man=no", str(there)], capture_output=True, text=True, check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip

    complaints = [line for line in done.stderr.splitlines() if there.name in line]
    assert (done.returncode, complaints) == (0, [])


def test_the_unit_may_write_where_the_page_on_monitoring_lets_the_workers_count() -> None:
    unit = (DEPLOY / "systemd" / "sartiq-tasks.service").read_text()
    page = (ROOT / "docs" / "how-to-monitor.md").read_text()

    assert (made := re.search(r"^RuntimeDirectory=(\S+)$", unit, flags=re.MULTILINE))
    assert (named := re.search(r"PROMETHEUS_MULTIPROC_DIR=([^`]+)", page))
    assert named[1].startswith(f"/run/{made[1]}/")


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


def test_compose_runs_commands_that_exist_in_services_that_can_write_nowhere_but_tmp() -> None:
    services = compose()["services"]

    assert services.keys() == {"migrate", "web", "handlers", "postgres"}
    for name, service in services.items():
        assert service["read_only"] is True, name
        if "build" in service:
            context = (DEPLOY / service["build"]["context"]).resolve()
            assert (context / service["build"]["dockerfile"]).exists()
        if command := service.get("command"):
            assert command[:2] == ["python", "manage.py"]
            assert command[2] in get_commands()


def test_each_service_that_stays_has_a_health_check() -> None:
    services = compose()["services"]

    assert {name for name, one in services.items() if "healthcheck" in one} == {"web", "handlers", "postgres"}
    for one in services.values():
        assert all(services[other] for other in one.get("depends_on", {}))


def test_the_health_check_of_the_web_service_asks_it(live_server: Any, settings: Any) -> None:
    """Behind HTTPS, and by a name that is allowed."""
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["tasks.example.org"]
    code = compose()["services"]["web"]["healthcheck"]["test"][-1]
    for allowed, is_well in ((".example.org", False), ("tasks.example.org,other", True)):
        done = subprocess.run(
            [sys.executable, "-c", code.replace("http://127.0.0.1:8000", live_server.url)],
            env={**os.environ, "ALLOWED_HOSTS": allowed}, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode == 0) == is_well, done.stderr


def test_containerfile_copies_what_exists() -> None:
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line]

    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_image_keeps_djangos_catalogue_of_each_language_that_the_pages_are_in() -> None:
    """Otherwise a page would be half in that language, and half in English."""
    removed = re.findall(r"-path '(\S+/locale/\S+)'", (DEPLOY / "Containerfile").read_text())
    catalogues = (Path(django.__file__).parent / "conf" / "locale").glob("*/LC_MESSAGES")
    kept = {path.parent.name for path in catalogues if not any(fnmatch(path.parent, one) for one in removed)}

    ours = {"en", *(path.name for path in (ROOT / "tasks" / "locale").iterdir())}
    assert {name.partition("_")[0] for name in kept} == ours
