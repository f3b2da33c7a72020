"""deploy/prometheus and deploy/grafana: rules that Prometheus loads and that fire, on metrics that exist."""

from __future__ import annotations

import json
import re
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import connection

from tasks.handlers import on_change
from tasks.handlers.registry import declaring
from tasks.ledger.silence import mark_lost
from tasks.models import Task
from tasks.ops import metrics, reaction_metrics, silence_metrics
from tasks.testing import Handlers
from tests.factories import NOON, full_body, record
from tests.programs import needed
from tests.servers import free_port, serving, wait_for_port

ROOT = Path(__file__).resolve().parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTS = (PROMETHEUS / "alerts.yml").read_text()
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "sartiq-tasks.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
PAGE = (ROOT / "docs" / "how-to-monitor.md").read_text()


def promtool(*arguments: str, cwd: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    command = [needed("promtool", package="prometheus"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
    ids=" ".join,
)
def test_the_files_are_valid(arguments: tuple[str, ...]) -> None:
    done = promtool(*arguments)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_expression_of_the_dashboard_is_valid(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$job", ".*")}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    done = promtool("check", "rules", "rules.yml", cwd=tmp_path)

    assert len(rules) > 5
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.django_db
def test_every_metric_that_is_named_exists(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"LOST_AFTER": timedelta(hours=1)}
    silence_metrics.count({"alive": 1})
    with declaring():
        on_change(name="shop.refund")(print)
        record()
        mark_lost(Task.objects.get())
        record(NOON, task_id="silent")
        for report in Handlers().run():
            reaction_metrics.count(report)
        text = metrics.exposition()[0].decode()
    names = set(re.findall(r"^(\w+)(?:\{| )", text, flags=re.MULTILINE))
    # A counter that was never counted has no line yet, and a histogram's lines have its suffixes.
    names |= {"sartiq_tasks_deliveries_total", "sartiq_tasks_rejected_total"}
    named = set(re.findall(r"\bsartiq_tasks_\w+", "".join([ALERTS, *EXPRESSIONS])))

    assert named
    assert named <= names
    assert "# TYPE sartiq_tasks_deliveries_total counter" in metrics.exposition()[0].decode()


def test_the_page_says_what_to_do_about_every_alert() -> None:
    alerts = set(re.findall(r"alert: (\w+)", ALERTS))

    assert alerts
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)) == alerts


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="what is stored where makes no difference to Prometheus"
)
def test_a_real_prometheus_scrapes_the_server_and_runs_the_rules(tmp_path: Path, own_database: str) -> None:
    program = needed("prometheus", package="prometheus")
    token = "a-token-for-prometheus"
    port = free_port()
    with serving(
        own_database, METRICS_TOKEN=token, PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "counts")
    ) as server:
        assert server.post(full_body()).status_code == 200
        target = server.url.removeprefix("http://")
        (tmp_path / "token").write_text(token)
        config = (PROMETHEUS / "prometheus.yml").read_text()
        for was, now in {
            "scheme: https": "scheme: http",
            "scrape_interval: 15s": "scrape_interval: 1s",
            "/etc/prometheus/sartiq-tasks-token": str(tmp_path / "token"),
            "tasks.example.org": target,
            "[alerts.yml]": f"[{PROMETHEUS / 'alerts.yml'}]",
        }.items():
            assert was in config
            config = config.replace(was, now)
        (tmp_path / "prometheus.yml").write_text(f"global: {{evaluation_interval: 1s}}\n{config}")
        command = [program, "--config.file=prometheus.yml", f"--storage.tsdb.path={tmp_path / 'data'}"]
        with (tmp_path / "log").open("w") as log:
            process: Any = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{port}"], cwd=tmp_path, stdout=log, stderr=log
            )
        try:
            wait_for_port(port, process)
            stored = _value(port, 'sum(sartiq_tasks_deliveries_total{outcome="stored"})')
            up = _value(port, 'up{job="sartiq-tasks"}')
            rules = _rules(port)
            for expression in EXPRESSIONS:
                assert _query(port, expression.replace("$job", ".*")).ok, expression
        finally:
            process.terminate()
            process.wait(20)

    assert (stored, up) == (1, 1)
    assert {rule["name"] for rule in rules} == set(re.findall(r"alert: (\w+)", ALERTS))
    assert {rule["health"] for rule in rules} == {"ok"}


def _value(port: int, expression: str) -> float:
    """Return the value of ``expression`` as soon as there is one."""
    for _ in range(200):
        answer = _query(port, expression)
        # It answers 503 while it starts.
        if answer.ok and (found := answer.json().get("data", {}).get("result")):
            return float(found[0]["value"][1])
        time.sleep(0.1)
    raise AssertionError(f"{expression} has no value")


def _query(port: int, expression: str) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{port}/api/v1/query", {"query": expression}, timeout=10)


def _rules(port: int) -> list[dict[str, Any]]:
    """Return the rules as soon as each has been evaluated."""
    for _ in range(200):
        groups = requests.get(f"http://127.0.0.1:{port}/api/v1/rules", timeout=10).json()["data"]["groups"]
        rules: list[dict[str, Any]] = [rule for group in groups for rule in group["rules"]]
        if rules and all(rule["health"] != "unknown" for rule in rules):
            return rules
        time.sleep(0.1)
    raise AssertionError("the rules were not evaluated")
