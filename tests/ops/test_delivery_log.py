"""One line in the log for each delivery, whatever its outcome, and never a body or a token in it."""

from __future__ import annotations

import json
import logging
from logging.config import DictConfigurator  # type: ignore[attr-defined]
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client
from prometheus_client import REGISTRY

from tasks import views
from tasks.models import TaskStatusEvent
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body

pytestmark = pytest.mark.django_db
SECRET_TEXT = "only-in-the-body"


def post(token: str | None = None, content: Any = None, method: str = "post", **headers: str) -> HttpResponse:
    headers["Authorization"] = f"Bearer {token or factories.client_token()}"
    sent = body(origin_zone=SECRET_TEXT) if content is None else content
    send = getattr(Client(raise_request_exception=False), method)
    return send(WEBHOOK, sent, content_type="application/json", headers=headers)  # type: ignore[no-any-return]


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the lines as the project's own formatter writes them."""
    configured: Any = django_settings.LOGGING["formatters"]
    formatter = DictConfigurator({}).configure_formatter(dict(configured["json"]))
    records = [record for record in caplog.records if record.name == "sartiq_tasks.deliveries"]
    return [json.loads(formatter.format(record)) for record in records]


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines as a host's ordinary formatter writes them."""
    formatter = logging.Formatter("%(levelname)s %(name)s %(message)s")
    return [formatter.format(record) for record in caplog.records if record.name == "sartiq_tasks.deliveries"]


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("sartiq_tasks_deliveries_total", {"outcome": outcome}) or 0


def test_a_stored_event_and_its_duplicate(caplog: pytest.LogCaptureFixture) -> None:
    token = factories.token(user=factories.user("add_taskstatusevent", username="ada"))
    post(token, **{"X-Request-ID": "req-1"})
    post(token)

    stored, duplicate = lines(caplog)
    pk = TaskStatusEvent.objects.get().pk
    milliseconds = stored.pop("milliseconds")
    assert 0 < milliseconds < 60_000
    assert stored.pop("time")
    assert stored == {
        "level": "INFO",
        "logger": "sartiq_tasks.deliveries",
        "message": f"delivery stored: status=200 client='ada' task='task-1' event={pk} request_id=req-1",
        "outcome": "stored",
        "status": 200,
        "client": "ada",
        "task": "task-1",
        "event": pk,
        "duplicate": False,
        "errors": [],
        "request_id": "req-1",
    }
    assert (duplicate["outcome"], duplicate["duplicate"]) == ("duplicate", True)
    assert duplicate["request_id"] != "req-1"


@pytest.mark.parametrize(
    ("token", "content", "outcome", "errors", "task"),
    [
        ("bad", None, "unauthenticated", ["authentication_failed"], None),
        (None, body(progress=101), "rejected", ["less_than_equal"], None),
        (None, b"{", "rejected", ["json_invalid"], None),
        (None, b'{"progress": null}', "rejected", ["float_type", "int_type", "missing"], None),
    ],
)
def test_what_was_not_stored(
    caplog: pytest.LogCaptureFixture, token: Any, content: Any, outcome: str, errors: list[str], task: Any
) -> None:
    post(token, content)

    (line,) = lines(caplog)
    assert (line["outcome"], line["errors"], line["task"], line["event"]) == (outcome, errors, task, None)


@pytest.mark.parametrize(
    ("token", "content", "line"),
    [
        (None, None, "stored: status=200 client='{0.client}' task='task-1' event={0.event}"),
        ("bad", None, "unauthenticated: status=401 client='' task=None errors=['authentication_failed']"),
        (None, b"{", "rejected: status=422 client='{0.client}' task=None errors=['json_invalid']"),
    ],
)
def test_plain_text_names_what_a_formatter_of_attributes_would(
    caplog: pytest.LogCaptureFixture, token: Any, content: Any, line: str
) -> None:
    post(token, content, **{"X-Request-ID": "r"})

    (record,) = [one for one in caplog.records if one.name == "sartiq_tasks.deliveries"]
    assert texts(caplog) == [f"INFO sartiq_tasks.deliveries delivery {line.format(record)} request_id=r"]


@pytest.mark.parametrize(
    "task_id", ["a\r\nERROR root forged", "\x1b[2Ja", "a\x85b\u2028c", "\u202egnp.exe", "\x08\x08\x7f"]
)
def test_plain_text_has_nothing_of_a_senders_that_a_terminal_or_a_reader_of_lines_obeys(
    caplog: pytest.LogCaptureFixture, task_id: str
) -> None:
    post(content=body(task_id=task_id))
    post(content=body(task_id=task_id, progress=2), **{"Idempotency-Key": "a"})
    post(content=body(task_id=task_id, progress=3), **{"Idempotency-Key": "a"})

    assert [record.outcome for record in caplog.records] == ["stored", "stored", "conflict"]  # type: ignore[attr-defined]
    assert all(line.isprintable() and repr(task_id) in line for line in texts(caplog))


def test_a_token_without_the_scope(caplog: pytest.LogCaptureFixture) -> None:
    post(factories.token(scope="read", application=factories.application(name="reader")))

    (line,) = lines(caplog)
    assert (line["outcome"], line["client"], line["errors"]) == ("forbidden", "reader", ["permission_denied"])


def test_a_conflict_says_which_task(caplog: pytest.LogCaptureFixture) -> None:
    for progress in (1, 2):
        post(content=body(progress=progress), **{"Idempotency-Key": "a"})

    line = lines(caplog)[1]
    assert (line["outcome"], line["task"], line["status"]) == ("conflict", "task-1", 409)


def test_beyond_a_limit(caplog: pytest.LogCaptureFixture, settings: Any) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_DELIVERIES": "1/min"}
    token = factories.client_token()
    cache.clear()
    post(token)
    post(token)

    assert [line["outcome"] for line in lines(caplog)] == ["stored", "throttled"]


@pytest.mark.parametrize(
    ("error", "status", "outcome"),
    [(OperationalError("gone"), 503, "unavailable"), (RuntimeError("a mistake of ours"), 500, "error")],
)
def test_what_failed_here(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    outcome: str,
) -> None:
    def fail(**kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(views, "record_event", fail)

    assert post().status_code == status
    (line,) = lines(caplog)
    assert (line["outcome"], line["task"], line["status"]) == (outcome, "task-1", status)


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
@pytest.mark.parametrize("method", ["post", "options"])
def test_what_the_database_failed_is_one_record_with_the_reason(
    caplog: pytest.LogCaptureFixture, settings: Any, level: int, method: str
) -> None:
    """Also if the deliveries are not logged, and if it is not one: nothing else says why."""

    def fail(*args: Any) -> Any:
        raise OperationalError("disk \x1b[1mfull\nDETAIL: a row")

    settings.SARTIQ_TASKS = {"METRICS_TOKEN": "a-token-for-prometheus"}
    caplog.set_level(level, logger="sartiq_tasks.deliveries")
    before = counted("unavailable")
    with connection.execute_wrapper(fail):
        answer = post("a-token", method=method)

    assert answer.status_code == 503
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("sartiq_tasks.deliveries", "ERROR")
    assert record.getMessage() == (
        "delivery unavailable: status=503 client='' task=None errors=['database_unavailable']"
        f" request_id={answer['X-Request-ID']} reason='disk \\x1b[1mfull'"
    )
    assert record.exc_info
    assert isinstance(record.exc_info[1], OperationalError)
    assert counted("unavailable") - before == (method == "post")


def test_a_mistake_of_ours_is_still_djangos_to_report(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "record_event", lambda **kwargs: 1 / 0)

    post()

    told = [(record.name, record.levelname, bool(record.exc_info)) for record in caplog.records]
    assert told == [("sartiq_tasks.deliveries", "INFO", False), ("django.request", "ERROR", True)]


def test_never_a_body_or_a_token(caplog: pytest.LogCaptureFixture) -> None:
    good = factories.client_token()
    for token, content in ((good, None), ("a-bad-token", None), (good, body(status={SECRET_TEXT: 1}))):
        post(token, content)

    text = json.dumps(lines(caplog)) + caplog.text
    assert len(lines(caplog)) == 3
    assert SECRET_TEXT not in text
    assert good not in text
    assert "a-bad-token" not in text


def test_a_senders_text_stays_on_its_line(caplog: pytest.LogCaptureFixture) -> None:
    post(content=body(task_id='a\n{"outcome": "forged"}'))

    assert [line["task"] for line in lines(caplog)] == ['a\n{"outcome": "forged"}']


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "\u00e9", "<script>", "a\tb"])
def test_a_request_id_that_is_not_fit_for_a_log_is_replaced(
    caplog: pytest.LogCaptureFixture, given: str
) -> None:
    answer = post(**{"X-Request-ID": given})

    (line,) = lines(caplog)
    assert len(line["request_id"]) == 32
    assert answer["X-Request-ID"] == line["request_id"]


@pytest.mark.parametrize("given", ["0af7651916cd43dd8448eb211c80319c", "a-B_c.1:2/3+4=", "x" * 128])
def test_a_request_id_is_answered_as_it_was_given(given: str) -> None:
    assert post(**{"X-Request-ID": given})["X-Request-ID"] == given


@pytest.mark.parametrize("method", ["get", "options", "put"])
def test_other_methods_are_no_deliveries(caplog: pytest.LogCaptureFixture, method: str) -> None:
    post(content={}, method=method)

    assert lines(caplog) == []


def test_a_log_that_is_off_costs_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.ops.delivery_log.request_id", lambda request: pytest.fail("asked"))
    caplog.set_level(logging.WARNING, logger="sartiq_tasks.deliveries")

    answer = post()

    assert answer.status_code == 200
    assert "X-Request-ID" not in answer
    assert lines(caplog) == []


@pytest.mark.parametrize("part", ["request_id", "_errors", "_outcome", "metrics.count"])
def test_a_report_that_fails_costs_the_delivery_nothing(
    monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    def fail(*args: Any) -> None:
        raise ValueError(part)

    settings.SARTIQ_TASKS = {"METRICS_TOKEN": "a-token-for-prometheus"}
    monkeypatch.setattr(f"tasks.ops.delivery_log.{part}", fail)
    token = factories.client_token()

    assert post(token).status_code == 200
    assert post(token, body(progress=101)).status_code == 422
    assert TaskStatusEvent.objects.count() == 1
    stored = TaskStatusEvent.objects.get().pk
    told = [record.getMessage().rpartition("counted: ")[2] for record in caplog.records if record.exc_info]
    names = [f"task='task-1' event={stored}"] * (part != "_errors")  # asked only of what was not stored
    assert [one.partition(" ")[2] for one in told] == [*names, "task=None event=None"]
    assert all(one.startswith("client='cluster-") for one in told)
