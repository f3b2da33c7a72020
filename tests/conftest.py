"""Fixtures for all tests."""

from __future__ import annotations

import os
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.signals import setting_changed
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from tests import cluster, factories
from tests.coverage import count_coverage
from tests.databases import is_citus
from tests.selection import counts_for_coverage, is_slow, is_trial, needs_each_database
from tests.servers import private_postgresql, templates, temporary_directory

pytest_plugins = ["tasks.testing.fixtures"]

WEBHOOK = "/api/v1/tasks/webhook"
if is_citus():
    setting_changed.connect(cluster.keep_distributed)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the run on a second database."""
    parser.addoption(
        "--second-database",
        action="store_true",
        help="leave out the cases that one database suffices for: a run on another one has had them",
    )


def pytest_configure() -> None:
    """Name the run for all of its processes, and remove what one of that name has left."""
    if "TEST_RUN" not in os.environ:
        os.environ["TEST_RUN"] = str(os.getpid())
        shutil.rmtree(templates(), ignore_errors=True)


def pytest_unconfigure() -> None:
    """Remove what they shared, in the process that named the run."""
    if os.environ["TEST_RUN"] == str(os.getpid()):
        shutil.rmtree(templates(), ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark slow cases and trials, skip what needs a missing Citus, and leave out what has run already."""
    for item in items:
        if is_slow(item):
            item.add_marker(pytest.mark.slow)
        if is_trial(item):
            item.add_marker(pytest.mark.trial)
        if item.get_closest_marker("citus") and not is_citus():
            item.add_marker(pytest.mark.skip("needs a Citus cluster: TEST_CITUS_URL names its coordinator"))
    if config.getoption("second_database"):
        left_out = [item for item in items if not needs_each_database(item)]
        items[:] = [item for item in items if needs_each_database(item)]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Count coverage in the cases that it needs only. To pause takes longer than most cases do."""
    count_coverage(counts_for_coverage(item))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """On Citus, drop what an interrupted run has left."""
    if is_citus():
        cluster.release(connection)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """On Citus, create the tests' database on the workers, and distribute it."""
    if is_citus():
        with django_db_blocker.unblock():
            cluster.distribute(connection)
    yield
    if is_citus():
        cluster.release(connection)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses ``each_layout`` in each; a TestCase, which takes no parameters, keeps the suite's."""
    if "each_layout" in metafunc.fixturenames:
        metafunc.parametrize("each_layout", [False, True], ids=["one node", "distributed"], indirect=True)


@pytest.fixture
def each_layout(request: pytest.FixtureRequest, settings: Any) -> None:
    """Use the statements for one node, or those for Citus, on whichever database."""
    is_distributed = getattr(request, "param", is_citus())
    if is_citus() and not is_distributed:
        pytest.skip("the tables are distributed")
    settings.SARTIQ_TASKS = {**settings.SARTIQ_TASKS, "DISTRIBUTED": is_distributed}


@pytest.fixture
def post(db: None) -> Callable[..., HttpResponse]:
    """Post to the webhook with a valid token; the body becomes JSON unless it is bytes."""
    client = Client(headers={"Authorization": f"Bearer {factories.client_token()}"})

    def send(content: Any, **extra: Any) -> HttpResponse:
        return client.post(WEBHOOK, content, **({"content_type": "application/json"} | extra))  # type: ignore[return-value]

    return send


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[str]:
    """The URL of a new, empty database of the kind that the suite runs on, for a server of a test's own."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path}/db.sqlite3"
        return
    with temporary_directory() as place, private_postgresql(place) as server:
        yield server.url


@pytest.fixture
def use_urls(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes its arguments the host's URL patterns."""

    def use(*patterns: Any) -> None:
        module = types.ModuleType("urls_of_a_host")
        module.urlpatterns = list(patterns)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        settings.ROOT_URLCONF = module.__name__

    return use
