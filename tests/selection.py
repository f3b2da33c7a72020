"""Which cases are slow, and which run on one database alone."""

from __future__ import annotations

import pytest
from django.test import SimpleTestCase

#: What starts servers, browsers or other programs, waits, asks for hundreds of pages, or stores thousands of
#: rows: left out by ``-m "not slow"``.
SLOW = (
    "tests/admin/test_history.py::test_a_refresh_is_small_after_2000_events",
    "tests/admin/test_overview.py::test_every_number_leads_to_exactly_its_rows",
    "tests/handlers/test_recording.py::test_32_writers_in_random_order_with_retries",
    "tests/handlers/test_worker.py",
    "tests/hostile/",
    "tests/auth/test_known_tokens.py::test_a_token_that_is_revoked_is_rejected_by_every_worker_at_once",
    "tests/commands/test_simulate_compute.py",
    "tests/database/test_live_connection.py",
    "tests/database/test_sqlite_file.py::test_away_and_back_again",
    "tests/database/test_sqlite_file.py::test_read_only_for_a_while",
    "tests/database/test_sqlite_file.py::test_replaced_by",
    "tests/ledger/test_order_of_arrival.py",
    "tests/ledger/test_silence_races.py",
    "tests/ops/test_metrics.py::test_any_process_answers_for_all",
    "tests/ops/test_metrics.py::test_each_outcome_is_told_before_it_happens",
    "tests/ops/test_metrics.py::test_off_imports_no_client",
    "tests/ops/test_metrics.py::test_the_age_is_of_now_and_stays_in_no_file",
    "tests/ops/test_metrics.py::test_the_first_deliveries_of_a_process_may_come_at_once",
    "tests/project/test_manage.py",
    "tests/test_coverage.py",
    "tests/test_databases.py",
    "tests/test_deploy.py",
    "tests/test_forking.py",
    "tests/test_fuzz.py",
    "tests/test_hosts_types.py",
    "tests/test_monitoring.py",
    "tests/test_odd_requests.py",
    "tests/test_server.py",
    "tests/test_settings.py",
    "tests/test_views.py::test_32_identical_posts_at_once",
    "tests/testing/test_fixtures.py::test_production_imports_none_of_it",
)

#: The longest of the slow ones, which ``make test`` leaves to ``make trials``: the app in other backends, in
#: browsers and as a newcomer gets it; what is killed, cut off or kept waiting for as long as it may be; and
#: each address of the app with any text in it.
TRIALS = (
    "tests/admin/test_any_text.py",
    "tests/browser/",
    "tests/handlers/test_kills.py",
    "tests/handlers/test_worker.py::test_a_slow_one_is_not_called_again_when_its_lease_passes",
    "tests/handlers/test_worker.py::test_killed_again_and_again",
    "tests/handlers/test_worker.py::test_one_that_hangs_is_ended_and_the_worker_ends_to_be_started_again",
    "tests/hostile/test_connections.py",
    "tests/hosts/",
    "tests/ledger/test_pruning.py::test_while_8_writers_post",
    "tests/test_benchmarks.py",
    "tests/test_coming_from_fastapi.py",
    "tests/test_how_to_backup.py",
    "tests/test_kills.py",
    "tests/test_monitoring.py::test_a_real_prometheus_scrapes_the_server_and_runs_the_rules",
    "tests/test_readme.py",
    "tests/test_run.py",
    "tests/test_server.py::test_a_signal_ends_it_while_it_starts",
    "tests/test_server.py::test_a_signal_ends_it_with_all_that_it_started",
    "tests/test_server.py::test_ctrl_c_finishes_what_was_taken_and_ends",
    "tests/test_server.py::test_workers_do_not_interrupt_each_other_if_the_kernel_lets_them",
    "tests/watchdog/test_process.py",
)

#: The slow cases in which coverage is counted, because they alone may run some line.
COVERING = (
    "tests/admin/test_history.py",
    "tests/admin/test_overview.py",
    "tests/commands/test_simulate_compute.py",
    "tests/database/test_live_connection.py",
    "tests/handlers/test_recording.py",
    "tests/handlers/test_worker.py",
    "tests/ledger/test_order_of_arrival.py",
    "tests/ledger/test_silence_races.py",
    "tests/ops/test_metrics.py",
    "tests/test_server.py",
)

#: What ``make test`` runs with each pair of Python and Django, if it is fast: the way of an event, a page
#: of the admin with its lists, the checks of a host, migrations, commands and handlers.
EACH_VERSION = (
    "tests/admin/test_export.py",
    "tests/admin/test_task.py",
    "tests/auth/test_views.py",
    "tests/checks/test_host.py",
    "tests/commands",
    "tests/handlers/test_recording.py",
    "tests/test_contract.py",
    "tests/test_middleware.py",
    "tests/test_migrations.py",
    "tests/test_models.py",
    "tests/test_views.py",
)

#: Cases that are slow or touch the database but are about something else: pages in a browser, parameters that
#: are rejected before the database is asked, a host's settings for DRF, and what a process does with its
#: environment, arguments and connections. Other cases test the rows behind that.
ONCE = (
    "tests/admin/test_any_text.py::test_in_no_parameter_that_is_guessed",
    "tests/browser/",
    "tests/hostile/test_connections.py",
    "tests/hostile/test_framing.py",
    "tests/hosts/test_asgi.py",
    "tests/hosts/test_how_to_hand_on.py",
    "tests/hosts/test_mariadb.py",
    "tests/hosts/test_rest_framework.py",
    "tests/hosts/test_rest_framework_settings.py",
    "tests/hosts/test_themes.py",
    "tests/hosts/test_wheel.py::test_what",
    "tests/hosts/test_wheel.py::test_the_source_distribution_makes_the_same_wheel",
    "tests/ops/test_metrics.py::test_any_process_answers_for_all",
    "tests/ops/test_metrics.py::test_each_outcome_is_told_before_it_happens",
    "tests/ops/test_metrics.py::test_off_imports_no_client",
    "tests/ops/test_metrics.py::test_the_age_is_of_now_and_stays_in_no_file",
    "tests/ops/test_metrics.py::test_the_first_deliveries_of_a_process_may_come_at_once",
    "tests/project/test_manage.py",
    "tests/test_benchmarks.py",
    "tests/test_coming_from_fastapi.py",
    "tests/test_coverage.py",
    "tests/test_deploy.py",
    "tests/test_forking.py",
    "tests/test_fuzz.py",
    "tests/test_hosts_rest_framework.py::test_no_setting_of_the_hosts_changes_an_answer",
    "tests/test_hosts_types.py",
    "tests/test_run.py::test_handlers",
    "tests/test_run.py::test_the_demo_without_a_server_says_so",
    "tests/test_run.py::test_the_first_run_and_the_next",
    "tests/test_server.py::test_a_port_that_is_taken_is_one_line",
    "tests/test_server.py::test_a_signal_ends_it_while_it_starts",
    "tests/test_server.py::test_a_signal_ends_it_with_all_that_it_started",
    "tests/test_server.py::test_a_worker_is_replaced_with_all_that_it_started",
    "tests/test_server.py::test_all_ends_if_the_supervisor_is_killed",
    "tests/test_server.py::test_each_worker_has_a_process_group_and_none_a_session",
    "tests/test_server.py::test_an_address_of_ipv6",
    "tests/test_server.py::test_one_of_two_that_start_at_once_ends",
    "tests/test_server.py::test_a_server_that_cannot_start_says_so_and_ends",
    "tests/test_server.py::test_workers_do_not_interrupt_each_other_if_the_kernel_lets_them",
    "tests/test_settings.py",
)

#: The fixtures with which pytest-django lets a case reach the database; it lets no case without one.
DATABASE_FIXTURES = {"db", "transactional_db", "live_server", "own_database"}


def is_slow(item: pytest.Item) -> bool:
    """Return whether the case is left out by ``-m "not slow"``."""
    return item.nodeid.startswith(SLOW) or is_trial(item)


def is_trial(item: pytest.Item) -> bool:
    """Return whether the case is one of ``make trials``, and not of ``make test``."""
    return item.nodeid.startswith(TRIALS)


def counts_for_coverage(item: pytest.Item) -> bool:
    """Return whether coverage is counted in the case: where it may find a line that has not been run.

    Those are the fast ones, and on a second database those of them that know which one they run on.
    """
    if is_slow(item):
        return item.nodeid.startswith(COVERING) and not is_trial(item)
    return asks_which_database(item) or not item.config.getoption("second_database")


def needs_each_database(item: pytest.Item) -> bool:
    """Return whether another database may make another result of the case."""
    if item.nodeid.startswith(ONCE):
        return False
    return is_slow(item) or reaches_database(item) or asks_which_database(item)


def reaches_database(item: pytest.Item) -> bool:
    """Return whether the case may use the database in this process."""
    owner = getattr(item, "cls", None)
    return (
        item.get_closest_marker("django_db") is not None
        or not DATABASE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        or (owner is not None and issubclass(owner, SimpleTestCase) and bool(owner.databases))
    )


def asks_which_database(item: pytest.Item) -> bool:
    """Return whether the case's module knows Django's connections, whose kind may decide without a query."""
    module = getattr(item, "module", None)
    return any(hasattr(module, name) for name in ("connection", "connections", "POSTGRESQL"))
