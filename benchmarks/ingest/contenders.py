"""The contenders that are measured: how each is set up, started, posted to and counted."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from harness.environment import free_port, project_environment

from . import load
from .load import Measurement, Processor
from .postgresql import PostgreSQL

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = Path(sys.executable).parent
PEERS = ROOT / ".venv-bench" / "bin"
PEER = "benchmarks.ingest.peers"
WEBHOOK = "/api/v1/tasks/webhook"
EVENTS = "sartiq_tasks_taskstatusevent"
UVICORN = [str(PEERS / "uvicorn"), "--workers", "2", "--no-access-log", "--log-level", "warning", "--port"]
# As sartiq_tasks/server.py, which is what the app runs under.
GRANIAN = [
    "--interface",
    "wsgi",
    "--workers",
    "2",
    "--blocking-threads",
    "3",
    "--no-ws",
    "--log-level",
    "warning",
]


@dataclass
class Server:
    """A contender that answers over HTTP."""

    name: str
    #: The command; the port follows its last word.
    command: list[str]
    #: The command that makes the tables and prints a token in its last line.
    set_up: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Where its code is.
    directory: Path = ROOT
    #: The table of its events; empty if it stores nothing.
    table: str = ""
    database: str = ""
    token: str = ""
    url: str = ""
    process: subprocess.Popen[bytes] | None = None

    def measure(self, postgresql: PostgreSQL, connections: int, seconds: int) -> Measurement:
        """Post for some seconds; raise if the table lacks an answered event, or has one too many."""
        assert self.process is not None
        before = postgresql.rows(self.database, self.table) if self.table else 0
        server = Processor(psutil.Process(self.process.pid))
        database = Processor(postgresql.processes())
        summary = load.wrk(self.url, self.token, connections, seconds)
        server_cpu, database_cpu = server.used(), database.used()
        if self.table:
            # wrk hangs up at the end: what was under way then may be stored without an answer counted.
            time.sleep(0.1)
            stored = postgresql.rows(self.database, self.table) - before
            if not summary["requests"] <= stored <= summary["requests"] + connections:
                raise SystemExit(f"{self.name}: {summary['requests']} answers, but {stored} rows")
        return Measurement(
            summary["requests"],
            summary["seconds"],
            summary["p50_ms"],
            summary["p99_ms"],
            server_cpu,
            database_cpu,
        )


@dataclass
class PgBench:
    """The ceiling: the statement alone, prepared, from PostgreSQL's own load generator."""

    statement: str
    database: str
    name: str = "ceiling"

    def measure(self, postgresql: PostgreSQL, connections: int, seconds: int) -> Measurement:
        """Run the statement for some seconds; the rows must be as many as the transactions."""
        before = postgresql.rows(self.database, EVENTS)
        database = Processor(postgresql.processes())
        command = [str(postgresql.programs / "pgbench"), "--no-vacuum", "--protocol=prepared", "--log"]
        command += [f"--log-prefix={postgresql.directory}/ceiling", f"--client={connections}", "--jobs=1"]
        command += [f"--time={seconds}", "--file=/dev/stdin", postgresql.url(self.database)]
        said = subprocess.run(
            command,
            input=self.statement,
            capture_output=True,
            text=True,
            check=True,
            cwd=postgresql.directory,
        ).stdout
        used = database.used()
        logs = list(Path(postgresql.directory).glob("ceiling*"))
        times = sorted(int(line.split()[2]) / 1000 for log in logs for line in log.read_text().splitlines())
        for log in logs:
            log.unlink()
        done = int(_found(r"actually processed: (\d+)", said))
        stored = postgresql.rows(self.database, EVENTS) - before
        if stored != done:
            raise SystemExit(f"ceiling: {done} transactions, but {stored} rows")
        rate = float(_found(r"tps = ([\d.]+)", said))
        return Measurement(done, done / rate, times[done // 2], times[int(done * 0.99)], 0.0, used)


def contenders(
    postgresql: PostgreSQL, names: list[str], checkout: Path | None = None
) -> Iterator[Server | PgBench]:
    """Set up the contenders in ``names`` and the app in ``checkout``, each with a database of its own."""
    statement = _statement()
    servers = [server for server in _servers(postgresql, statement) if server.name in names]
    if checkout is not None:
        servers.append(former(checkout, postgresql.url("former")))
    for server in servers:
        if server.set_up:
            postgresql.query(f"CREATE DATABASE {server.database}")
            set_up(server)
        yield server
    if "ceiling" in names:
        postgresql.query("CREATE DATABASE ceiling")
        environment = environment_of_ours(postgresql.url("ceiling"))
        _run(_manage("migrate", "--verbosity=0"), environment)
        yield PgBench(_for_pgbench(statement), "ceiling")


def set_up(server: Server) -> None:
    """Make the server's tables and a client, and keep a token of it."""
    server.token = _token_of(_run(server.set_up, server.environment, server.directory))


def environment_of_ours(database_url: str) -> dict[str, str]:
    """Return the environment of the project on that database."""
    return project_environment(database_url, LOG_DELIVERIES="off")  # the peers log no request either


def ours(url: str, name: str = "ours", **environment: str) -> Server:
    """Return the app in the project, as it is deployed."""
    return Server(
        name,
        [str(OURS / "python"), "-m", "sartiq_tasks.server", "--port"],
        ["sh", "-c", f"{_shell('migrate --verbosity=0')} && {_shell(CLIENT)}"],
        environment_of_ours(url) | environment,
        table=EVENTS,
        database=name,
    )


def former(checkout: Path, url: str) -> Server:
    """Return the app of another commit, whose benchmark knows how to deploy it."""
    code = (
        "import json, sys; from benchmarks.ingest.contenders import ours; it = ours(sys.argv[1], 'former');"
        "print(json.dumps([it.command, it.set_up, dict(it.environment)]))"
    )
    said = _run([str(OURS / "python"), "-c", code, url], {}, checkout)
    command, set_up_command, environment = json.loads(said.splitlines()[-1])
    return Server("former", command, set_up_command, environment, checkout, table=EVENTS, database="former")


CLIENT = "create_compute_client cluster --token --json"


def _servers(postgresql: PostgreSQL, statement: dict[str, Any]) -> list[Server]:
    python = str(PEERS / "python")
    peers_granian = [str(PEERS / "granian"), f"{PEER}.floor:application", *GRANIAN, "--port"]
    textbook = {
        "POSTGRES_NAME": "textbook",
        "POSTGRES_HOST": postgresql.directory,
        "DJANGO_SETTINGS_MODULE": f"{PEER}.textbook.settings",
    }
    gunicorn = [str(PEERS / "gunicorn"), f"{PEER}.textbook.wsgi:application", "--workers=2", "--threads=4"]

    def raw(name: str, keep_tokens: int) -> Server:
        url = postgresql.url(name)
        own = {"POSTGRES_URL": url, "STATEMENT": json.dumps(statement), "KEEP_TOKENS": str(keep_tokens)}
        return Server(
            name,
            [*UVICORN[:1], f"{PEER}.raw:app", *UVICORN[1:]],
            ours(url).set_up,
            environment_of_ours(url) | own,
            table=EVENTS,
            database=name,
        )

    return [
        *(ours(postgresql.url(name), name) for name in ("ours", "ours_empty", "ours_full")),
        Server(
            "original",
            [*UVICORN[:1], f"{PEER}.original:app", *UVICORN[1:]],
            [python, "-m", f"{PEER}.original"],
            {"SQLALCHEMY_URL": postgresql.url("original", "postgresql+psycopg")},
            table="event",
            database="original",
        ),
        Server(
            "async",
            [*UVICORN[:1], f"{PEER}.asynchronous:app", *UVICORN[1:]],
            [python, "-m", f"{PEER}.asynchronous"],
            {"SQLALCHEMY_URL": postgresql.url("async", "postgresql+asyncpg")},
            table="event",
            database="async",
        ),
        *(raw(name, seconds) for name, seconds in (("raw", 0), ("raw_cached", 5))),
        Server(
            "textbook",
            [*gunicorn, "--worker-class=gthread", "--log-level=warning", "--bind"],
            [python, "-m", f"{PEER}.textbook"],
            textbook,
            table="textbook_event",
            database="textbook",
        ),
        Server("floor", peers_granian),
    ]


@contextmanager
def running(servers: list[Server | PgBench]) -> Iterator[None]:
    """Run all of ``servers`` until the end of the block."""
    try:
        for server in servers:
            if isinstance(server, Server):
                start(server)
        yield
    finally:
        for server in servers:
            if isinstance(server, Server):
                stop(server)


def start(server: Server) -> None:
    """Start one server, and wait until it answers."""
    port = free_port()
    server.url = f"http://127.0.0.1:{port}{WEBHOOK}"
    last = f"127.0.0.1:{port}" if server.command[-1] == "--bind" else str(port)
    server.process = subprocess.Popen(
        [*server.command, last],
        cwd=server.directory,
        env={**os.environ, **server.environment},
        start_new_session=True,
    )
    wait_for(server)


def wait_for(server: Server) -> None:
    """Wait until a server answers anything; exit with its command if it does not."""
    for _ in range(300):
        try:
            urllib.request.urlopen(server.url, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
        if server.process is None or server.process.poll() is not None:
            break
    stop(server)
    raise SystemExit(f"{server.name} does not start; its command: {' '.join(server.command)}")


def stop(server: Server) -> None:
    """Stop one server and all its processes."""
    if server.process is not None and server.process.poll() is None:
        os.killpg(server.process.pid, signal.SIGTERM)
        try:
            server.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.process.pid, signal.SIGKILL)


def require_tools() -> None:
    """Exit with what to install if a program is missing without which nothing can be measured."""
    if shutil.which("wrk") is None:
        raise SystemExit("The load generator wrk is not installed. Debian and Ubuntu: apt-get install wrk")
    if not (PEERS / "uvicorn").exists():
        raise SystemExit("The peers' environment .venv-bench is missing. Run: make bench")


def _statement() -> dict[str, Any]:
    """Return the statement that records an event, as the app has it, with numbered parameters."""
    code = (
        "import json; from tasks.ledger import upsert as s; print(json.dumps({"
        "'sql': s.record_in_one('status, previous_status'),"
        "'event': s.EVENT_COLUMNS, 'task': s.TASK_COLUMNS_GIVEN}))"
    )
    said = _run(
        _manage("shell", "--verbosity=0", "--command", code), environment_of_ours("sqlite://:memory:")
    )
    statement: dict[str, Any] = json.loads(said.splitlines()[-1])
    numbers = iter(range(1, 1000))
    statement["sql"] = re.sub("%s", lambda _: f"${next(numbers)}", statement["sql"])
    return statement


def _for_pgbench(statement: dict[str, Any]) -> str:
    """Return the statement as a script of pgbench, each event unique and the latest of its task."""
    now = "clock_timestamp()"
    newest = "int8send((extract(epoch from clock_timestamp()) * 1000000)::bigint)"
    text = '\'{"epoch": 3, "step": 1234, "loss": 0.123456, "message": "step done"}\''
    values = {"task_id": "'train-' || :task", "progress": "50", "meaning": "'running'", "event_count": "1"}
    values |= dict.fromkeys(("idempotency_key", "payload_digest"), "sha256(int8send(:key))")
    values |= dict.fromkeys(("metadata", "additional_properties", "unknown_fields"), text)
    for name in (
        "timestamp",
        "received_at",
        "last_received_at",
        "first_event_at",
        "last_event_at",
        "status_at",
        "first_running_at",
        "last_running_at",
    ):
        values[name] = now
    given = [*statement["event"], *statement["task"]]

    def value(match: re.Match[str]) -> str:
        name = given[int(match[1]) - 1]
        if name.endswith("_order"):
            return newest if name in ("last_order", "status_order", "origin_order") else "''"
        return values.get(name, "null" if name in NULLS else "'gpu-worker-001'")

    sql = " ".join(re.sub(r"\$(\d+)", value, statement["sql"]).split())
    return f"\\set task random(1, {load.TASKS})\n\\set key random(1, 9000000000000000000)\n{sql};\n"


NULLS = (
    "error_message", "error_category", "completed_at", "started_at",
    "first_queued_at", "last_queued_at", "first_ended_at", "last_ended_at",
)  # fmt: skip


def _manage(*words: str) -> list[str]:
    return [str(OURS / "python"), str(ROOT / "manage.py"), *words]


def _shell(words: str) -> str:
    return f"{OURS / 'python'} {ROOT / 'manage.py'} {words}"


def _run(command: list[str], environment: Mapping[str, str], directory: Path = ROOT) -> str:
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _token_of(said: str) -> str:
    last = said.strip().splitlines()[-1]
    return str(json.loads(last)["access_token"]) if last.startswith("{") else last


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"pgbench said nothing of {pattern!r}:\n{text}")
    return match[1]
