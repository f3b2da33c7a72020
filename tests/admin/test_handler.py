"""The page of the handlers: how each stands, pause and resume."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tasks.handlers import Change, on_change, on_event, on_found, on_lost
from tasks.handlers.control import pause
from tasks.handlers.registry import declaring
from tasks.handlers.sql import database
from tasks.handlers.worker import mark_seen
from tasks.models import Handler, Reaction
from tests.databases import more_on_citus
from tests.factories import record, user

pytestmark = pytest.mark.django_db
PAGE = reverse("admin:sartiq_tasks_handler_changelist")
REACTIONS = reverse("admin:sartiq_tasks_reaction_changelist")
MINUTE = timedelta(minutes=1)


def nothing(change: Change) -> None:
    pass


@pytest.fixture(autouse=True)
def shop() -> Iterator[None]:
    with declaring():
        on_change(to={"failed", "cancelled"}, task_type="training", name="refund")(nothing)
        on_change(name="tell")(nothing)
        on_event(event_type="checkpoint", name="keep")(nothing)
        on_event(name="all")(nothing)
        yield


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(user("view_handler", *permissions, is_staff=True))
    return client


@pytest.fixture
def operator() -> Client:
    return staff("pause_handler")


def rows(client: Client) -> dict[str, str]:
    """Return each row's text, by the handler's name."""
    html = client.get(PAGE).content.decode()
    found = re.findall(r'<th scope="row"><a [^>]*>([^<]*)</a></th>(.*?)</tr>', html, re.DOTALL)
    return {name: " ".join(re.sub(r"<[^>]*>", " ", row).split()) for name, row in found}


def test_each_handler_in_two_queries(operator: Client, django_assert_num_queries: Any) -> None:
    mark_seen(["refund", "tell", "keep"], database())
    for number in range(3):
        record(task_id=f"t{number}", status="failed")
    now = timezone.now()
    refunds = Reaction.objects.filter(handler="refund")
    refunds.filter(task="t0").update(state="dead")
    refunds.filter(task="t1").update(due_at=now - 6 * MINUTE)
    Reaction.objects.filter(handler="all").update(handler="gone")
    Reaction.objects.filter(handler="tell").delete()
    pause("keep")
    Handler.objects.filter(name="keep").update(paused_at=now - 5 * MINUTE)
    mark_seen(["once"], database())

    told = rows(operator)

    assert list(told) == ["all", "gone", "keep", "once", "refund", "tell"]
    refund = r"a change to Cancelled, Failed \(training\) ◷ Late 2 6 min ago 1 \d+ s ago Pause"
    assert re.fullmatch(refund, told["refund"])
    assert told["all"] == "each event ✖ No worker 0 — 0 — Pause"
    assert told["keep"].startswith("each event checkpoint ‖ Paused for 5 min 0 — 0 ")
    assert told["keep"].endswith("Resume")
    assert re.match(r"— ∅ No app declares it 3 \d+ s ago 0 — Pause", told["gone"])
    assert told["once"].startswith("— ∅ No app declares it 0")
    assert told["tell"].startswith("each change ✔ Works 0")
    html = operator.get(PAGE).content.decode()
    assert "Times in UTC" in html
    assert f'href="{REACTIONS}?handler=refund&amp;state=dead">1<' in html
    assert f'href="{REACTIONS}?handler=refund&amp;state=pending">2<' in html
    assert f'href="{REACTIONS}?handler=refund">refund<' in html
    # The session, the user, two of permissions, and one that tells how all stand.
    with django_assert_num_queries(5 + more_on_citus(1)):
        operator.get(PAGE)


def test_a_count_ends(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("handlers.standing", "admin.handler"):
        monkeypatch.setattr(f"tasks.{module}.MAX_COUNT", 1)
    record(task_id="a")
    record(task_id="b")

    assert "1+" in rows(operator)["all"]


def test_nothing_is_declared(operator: Client) -> None:
    with declaring():
        assert "No app declares a handler." in operator.get(PAGE).content.decode()


def test_a_handler_of_lost_tasks(operator: Client) -> None:
    on_lost(name="lost")(nothing)
    on_found(name="found")(nothing)
    told = rows(operator)

    assert told["lost"].startswith("a task that is marked as lost ")
    assert told["found"].startswith("a lost task that is heard from again ")


def test_a_meaning_that_does_not_exist_is_shown_as_it_is(operator: Client) -> None:
    on_change(to="nonsense", name="odd")(nothing)

    assert rows(operator)["odd"].startswith("a change to nonsense ")


@pytest.mark.parametrize(
    ("action", "was_paused", "told", "log"),
    [
        ("pause", False, "The handler refund is paused.", "Paused."),
        ("resume", True, "The handler refund is resumed.", "Resumed."),
    ],
)
def test_pause_and_resume_are_confirmed_made_and_logged(
    operator: Client, action: str, was_paused: bool, told: str, log: str
) -> None:
    if was_paused:
        pause("refund")
    html = operator.post(PAGE, {action: "refund"}).content.decode()
    assert f'name="{action}" value="refund"' in html
    assert f'href="{PAGE}" class="st-back"' in html
    assert Handler.objects.filter(paused_at__isnull=False).exists() == was_paused

    answer: Any = operator.post(PAGE, {action: "refund", "confirmed": "yes"}, follow=True)

    assert [str(message) for message in answer.context["messages"]] == [told]
    assert answer.redirect_chain == [(PAGE, 302)]
    assert Handler.objects.filter(paused_at__isnull=False).exists() != was_paused
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == ("refund", log)


@pytest.mark.parametrize(
    ("form", "code"),
    [({}, 400), ({"pause": "no such"}, 404), ({"pause": "\0"}, 404), ({"pause": ""}, 404),
     ({"x": "refund"}, 400)],
)  # fmt: skip
def test_another_form_is_none(operator: Client, form: dict[str, str], code: int) -> None:
    assert operator.post(PAGE, {**form, "confirmed": "yes"}).status_code == code


def test_to_see_is_not_to_pause() -> None:
    client = staff()
    html = client.get(PAGE).content.decode()
    assert 'name="pause"' not in html
    assert "st-decide" not in html
    assert client.post(PAGE, {"pause": "refund", "confirmed": "yes"}).status_code == 403
    assert not Handler.objects.exists()


def test_to_pause_is_not_to_see() -> None:
    client = Client()
    client.force_login(user("pause_handler", is_staff=True))

    assert client.get(PAGE).status_code == 403
    assert client.post(PAGE, {"pause": "refund", "confirmed": "yes"}).status_code == 403
    assert not Handler.objects.exists()


@pytest.mark.parametrize("name", ["refund", "shop.refund:1_a-b"])
def test_a_handler_has_a_page_with_its_log(operator: Client, name: str) -> None:
    on_change(name=name)(nothing)
    operator.post(PAGE, {"pause": name, "confirmed": "yes"})
    page = LogEntry.objects.get().get_admin_url()

    assert name in operator.get(page).content.decode()
    assert "Paused." in operator.get(str(page).replace("/change/", "/history/")).content.decode()


def test_nobody_edits_them(admin_client: Client) -> None:
    pause("refund")
    change = reverse("admin:sartiq_tasks_handler_change", args=["refund"])

    assert admin_client.get(change).status_code == 200
    assert admin_client.post(change, {"name": "x"}).status_code == 403
    assert admin_client.post(change.replace("change", "delete")).status_code == 403
    assert admin_client.get(f"{PAGE}add/").status_code == 403


def test_an_export_has_them(operator: Client) -> None:
    pause("refund")

    assert b"refund" in b"".join(operator.get(f"{PAGE}export.csv").streaming_content)  # type: ignore[attr-defined]
