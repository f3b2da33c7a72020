"""No text in any address of the admin is an error of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client

from tasks.handlers import on_event
from tasks.handlers.control import pause
from tasks.handlers.registry import declaring
from tasks.models import Handler, Reaction, RejectedDelivery, Task, TaskStatusEvent
from tests.factories import record, rejected

pytestmark = pytest.mark.django_db
MODELS = (Task, TaskStatusEvent, RejectedDelivery, Reaction, Handler)
#: As they stand in an address: percent-encoded bytes, not all of them UTF-8.
TEXTS = [
    "%00", "a%00b", "%0D%0A", "%ED%A0%80", "%FF", "%F0%9F%92%A5", "%", "%2500", "'", "%22", "(", "\\", "..",
    "_00", "_empty", "-", "-1", "1", "1.2.3", "1e400", "nan", "%D9%A3", "%C2%B2", "0001-01-01", "9999-12-31",
    "2026-02-30", "0001-01-01T00:00", "9999-12-31T23:59-12:00", "2026-05-01T10:00%2B25:00",
]  # fmt: skip
TEXTS += ["", "9" * 19, "9" * 5000, "a" * 3000]
#: What Django's lists, forms and popups read.
STOCK = ["q", "o", "p", "e", "all", "_popup", "_to_field", "_facets", "_changelist_filters"]
#: What somebody might guess. None of these may reach the database.
GUESSES = [
    "unknown", "unknown__exact", "pk", "pk__in", "id", "id__exact", "id__in", "id__gte", "task",
    "task__task_id", "task_id__exact", "task_id__regex", "task_id__in", "status__iregex", "status__isnull",
    "progress__gte", "received_at__year", "received_at__date", "received_at__gte", "last_received_at__year",
    "last_received_at__range", "metadata__a", "metadata__contains", "accepted_at__isempty", "body",
    "errors__0", "idempotency_key", "events__id", "__", "__exact", "a__b__c", "%00", "q__", "password",
    "%F0%9F%92%A5", "%ED%A0%80",
]  # fmt: skip


@pytest.fixture
def staff(admin_client: Client) -> Iterator[Client]:
    with declaring():
        on_event(name="handler")(print)
        record(task_id="task", origin_zone="z", error_message="boom", metadata={"a": 1})
        rejected()
        pause("handler")
        yield admin_client


def own_parameters(model: type[Model]) -> list[str]:
    """Return every parameter that the model's list has."""
    filters: Any = admin.site.get_model_admin(model).list_filter
    return [name for one in filters for name in one.parameters()]


def list_of(model: type[Model]) -> str:
    return f"/admin/sartiq_tasks/{model._meta.model_name}"


def status_of(client: Client, address: str) -> int:
    answer: Any = client.get(address)
    if answer.streaming:
        b"".join(answer.streaming_content)
    return int(answer.status_code)


def places(text: str) -> Iterator[tuple[type[Model], str]]:
    """Yield every parameter once, on a list that reads it. If several do, they take turns by the text."""
    lists: dict[str, list[type[Model]]] = {name: list(MODELS) for name in STOCK}
    for model in MODELS:
        for name in own_parameters(model):
            lists.setdefault(name, []).append(model)
    for number, (name, models) in enumerate(lists.items(), TEXTS.index(text)):
        yield models[number % len(models)], name


@pytest.mark.parametrize("text", TEXTS)
def test_in_every_parameter(staff: Client, text: str) -> None:
    for model, name in places(text):
        # The export reads what the list reads; of most texts the list alone is asked.
        for page in ("", "export.csv") if len(text) < 4 else ("",):
            address = f"{list_of(model)}/{page}?{name}={text}"
            assert status_of(staff, address) in (200, 302, 400), address


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("page", ["", "export.csv", "export.jsonl"])
def test_in_no_parameter_that_is_guessed(staff: Client, model: type[Model], page: str) -> None:
    if model is Handler and not page:
        pytest.skip("The page of the handlers reads no parameter.")
    for name in set(GUESSES).difference(own_parameters(model)):
        for text in ("", "1", "%00", "(", "nan"):
            address = f"{list_of(model)}/{page}?{name}={text}"
            assert status_of(staff, address) == 400, address


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "path",
    ["{}/change/", "{}/history/", "{}/delete/", "{}/", "export.{}", "1/change/?_to_field={}", "add/?id={}"],
)
def test_in_every_path(staff: Client, model: type[Model], path: str) -> None:
    for text in TEXTS:
        address = f"{list_of(model)}/{path.format(text)}"
        assert status_of(staff, address) in (200, 301, 302, 400, 403, 404), address


@pytest.mark.parametrize("model", [RejectedDelivery, Reaction])
@pytest.mark.parametrize("text", ["\0", "abc", "", "9" * 40, "1.5", "\u0663"])
def test_in_an_action(staff: Client, model: type[Model], text: str) -> None:
    for name in ("action", "_selected_action", "index", "select_across", "confirmed", "_page"):
        form = {"action": "try_again", "_selected_action": "1", "index": "0", name: text}
        answer = staff.post(f"{list_of(model)}/", form)

        assert answer.status_code in (200, 302, 400), name


@pytest.mark.parametrize("text", ["\0", "abc", "", "9" * 5000, "\udcff", "\u0663"])
def test_in_the_form_of_the_handlers(staff: Client, text: str) -> None:
    for name in ("pause", "resume", "action", "name", "confirmed"):
        answer = staff.post(f"{list_of(Handler)}/", {name: text.encode("utf-8", "surrogateescape"), "x": "y"})

        assert answer.status_code in (400, 404), name
