"""Tokens: read from the database, cached, and never valid for longer than the database says."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, cast

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from oauth2_provider.models import get_access_token_model, get_application_model
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from tasks.auth import known_tokens as tokens
from tasks.auth import permissions
from tasks.auth.authentication import BearerTokenAuthentication
from tasks.models import RejectedDelivery, TaskStatusEvent
from tests import factories
from tests.conftest import WEBHOOK
from tests.factories import body
from tests.servers import manage, serving

pytestmark = pytest.mark.django_db

AccessToken: Any = get_access_token_model()
SOON = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nothing_cached() -> None:
    tokens._known.clear()
    permissions._permitted.clear()


def post(token: str, **changes: Any) -> int:
    answer = Client().post(
        WEBHOOK,
        body(**changes),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    return answer.status_code


def seen_by(token: str, **changes: Any) -> tuple[int, int]:
    """Return the status of a post and how many queries read the token."""
    with CaptureQueriesContext(connection) as captured:
        status = post(token, **changes)
    # Citus is asked in a SELECT of its own whether a cached one still holds.
    read = [query["sql"] for query in captured if re.match("SELECT(?! 1 WHERE)", query["sql"])]
    return status, sum("token_checksum" in sql for sql in read)


def test_a_token_is_read_once_and_then_confirmed() -> None:
    token = factories.token(application=factories.application())

    assert seen_by(token) == (200, 1)
    assert seen_by(token) == (200, 0)
    assert TaskStatusEvent.objects.get().deliveries == 2


@pytest.mark.skipif(connection.vendor != "postgresql", reason="about the conversions of psycopg")
@pytest.mark.parametrize("with_user", [True, False])
def test_what_confirms_it_is_converted_once(with_user: bool) -> None:
    user = factories.user("add_taskstatusevent") if with_user else None
    token = factories.token(application=factories.application(), user=user)
    post(token)

    ((_, checksum),) = tokens._known
    known = tokens.cached(checksum)
    conditions = [known and known[1], *permissions._permitted.values()]
    values = [value for condition in conditions for value in (condition or ("", ()))[1]]
    assert "tasks:webhook" in values
    assert "[]" in values, "the audience, as JSON"
    assert {type(value) for value in values} == {str}
    assert seen_by(token, progress=6) == (200, 0)


def revoke(access_token: Any) -> None:
    access_token.revoke()


def expire(access_token: Any) -> None:
    AccessToken.objects.update(expires=datetime.now(UTC) - timedelta(seconds=1))


def bind_to_another_audience(access_token: Any) -> None:
    AccessToken.objects.update(resource=["https://other.example.org"])


def take_the_scope(access_token: Any) -> None:
    AccessToken.objects.update(scope="read")


def switch_the_user_off(access_token: Any) -> None:
    access_token.user.is_active = False
    access_token.user.save()


def take_the_permission(access_token: Any) -> None:
    access_token.user.user_permissions.clear()


def delete_the_user(access_token: Any) -> None:
    access_token.user.delete()


def delete_the_application(access_token: Any) -> None:
    access_token.application.delete()


CHANGES: list[tuple[Callable[[Any], None], int]] = [
    (revoke, 401),
    (expire, 401),
    (bind_to_another_audience, 401),
    (take_the_scope, 403),
    (switch_the_user_off, 401),
    (take_the_permission, 403),
    (delete_the_user, 401),
    (delete_the_application, 401),
]


@pytest.mark.parametrize("valid", [True, False], ids=["valid body", "rejected body"])
@pytest.mark.parametrize(("change", "status"), CHANGES)
def test_what_is_taken_away_is_gone_with_the_next_post(change: Any, status: int, valid: bool) -> None:
    token = factories.token(application=factories.application(), user=factories.user("add_taskstatusevent"))
    assert post(token) == 200

    change(AccessToken.objects.get())

    assert post(token, progress=6 if valid else 101) == status
    assert post(token, progress=7 if valid else 102) == status
    assert TaskStatusEvent.objects.count() == 1
    assert not RejectedDelivery.objects.exists(), "nothing is kept of a sender that may not post"


def test_the_sender_of_half_a_body_is_confirmed_before_the_answer() -> None:
    token = factories.token()
    client = Client(headers={"Authorization": f"Bearer {token}"})

    def post_half() -> int:
        half = {"wsgi.input": BytesIO(b"{")}
        return client.post(WEBHOOK, b"{}", content_type="application/json", **half).status_code  # type: ignore[arg-type]

    post(token)
    before = post_half()
    AccessToken.objects.get().revoke()

    assert (before, post_half()) == (400, 401)


def test_an_application_is_judged_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    token = factories.token(application=factories.application())
    before = post(token)
    monkeypatch.setattr(get_application_model(), "is_usable", lambda application, request: False)

    assert (before, post(token)) == (200, 401)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"scope": "read"}, {"scope": "tasks:webhook"}),
        ({"expires": datetime(2020, 1, 1, tzinfo=UTC)}, {"expires": SOON}),
        ({"resource": ["https://other.example.org"]}, {"resource": []}),
    ],
)
def test_what_is_given_is_there_with_the_next_post(before: Any, after: Any) -> None:
    token = factories.token(**before)
    assert post(token) in (401, 403)

    AccessToken.objects.update(**after)

    assert post(token) == 200


def test_a_client_that_is_renamed_sends_under_its_new_name() -> None:
    token = factories.token(application=factories.application(name="cluster-a"))
    post(token, progress=1)

    get_application_model().objects.update(name="cluster-b")
    post(token, progress=2)

    assert list(TaskStatusEvent.objects.order_by("pk").values_list("source", flat=True)) == [
        "cluster-a",
        "cluster-b",
    ]


def test_a_change_costs_one_more_query_and_is_then_cached() -> None:
    token = factories.token()
    post(token)

    AccessToken.objects.update(expires=SOON)

    assert [seen_by(token, progress=number) for number in range(3)] == [(200, 1), (200, 0), (200, 0)]


def test_a_key_of_another_event_is_a_conflict_also_of_a_cached_sender() -> None:
    token = factories.token()
    client = Client(headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "a"})

    answers = [client.post(WEBHOOK, body(progress=p), content_type="application/json") for p in (1, 1, 2)]

    assert [answer.status_code for answer in answers] == [200, 200, 409]


def test_a_transaction_sees_its_own_changes_and_what_it_rolls_back_is_gone() -> None:
    token = factories.token()
    post(token)

    with transaction.atomic():
        assert seen_by(token) == (200, 0)
        AccessToken.objects.update(scope="read")
        assert seen_by(token) == (403, 1)
        AccessToken.objects.update(scope="tasks:webhook other")
        assert seen_by(token) == (200, 1)
        transaction.set_rollback(True)
    assert seen_by(token) == (200, 1)
    assert seen_by(token) == (200, 0)


@pytest.mark.parametrize("changes", [{"last_login": SOON}, {"email": "ada@example.org"}])
def test_a_change_of_what_is_not_judged_costs_nothing(changes: Any) -> None:
    user = factories.user("add_taskstatusevent")
    token = factories.token(user=user)
    post(token)

    type(user).objects.update(**changes)

    assert seen_by(token) == (200, 0)


def test_other_views_use_nothing_cached_for_nobody_would_confirm_it() -> None:
    token = factories.token()
    post(token)
    AccessToken.objects.get().revoke()
    request = APIRequestFactory().get("/", headers={"Authorization": f"Bearer {token}"})
    request_of_another_view = Request(request, authenticators=[BearerTokenAuthentication()])

    with pytest.raises(AuthenticationFailed, match="Could not validate credentials"):
        _ = request_of_another_view.user


def test_a_method_that_writes_nothing_reads_the_sender_from_the_database() -> None:
    token = factories.token()
    client = Client(headers={"Authorization": f"Bearer {token}"})
    post(token)
    AccessToken.objects.get().revoke()

    assert client.options(WEBHOOK).status_code == 401


class OnlyOfTheirOwnApplication(BasePermission):
    """A backend's own permission, which looks further than the token."""

    def has_permission(self, request: Any, view: Any) -> bool:
        """Return whether the user of the token's application is active."""
        return bool(request.auth.application.user.is_active)


def test_what_a_backends_own_permission_loads_is_loaded_for_each_request(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"PERMISSION_CLASSES": [f"{__name__}.OnlyOfTheirOwnApplication"]}
    owner = factories.user()
    token = factories.token(application=factories.application(user=owner))
    assert [post(token), post(token)] == [200, 200]

    owner.is_active = False
    owner.save()

    assert post(token) == 403


class EventsElsewhere:
    """Events in another database than tokens."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        """Return the alias for events."""
        return "elsewhere" if model is TaskStatusEvent else None


@pytest.mark.parametrize("routers", [[], ["tests.auth.test_known_tokens.EventsElsewhere"]])
def test_tokens_of_another_database_than_the_events_are_not_cached(settings: Any, routers: list[str]) -> None:
    checksum = hashlib.sha256(factories.token().encode()).hexdigest()
    settings.DATABASE_ROUTERS = routers

    assert tokens.find(checksum)
    assert bool(tokens.cached(checksum)) is (not routers)


@pytest.mark.django_db(transaction=True)
def test_a_token_that_is_revoked_is_rejected_by_every_worker_at_once(own_database: str) -> None:
    def post_many() -> set[int]:
        with ThreadPoolExecutor(8) as pool:
            return {answer.status_code for answer in pool.map(lambda _: server.post(body()), range(64))}

    with serving(own_database) as server:
        before = post_many()
        told = "from oauth2_provider.models import AccessToken; AccessToken.objects.get().revoke()"
        manage("shell", "-v", "0", "-c", told, database_url=own_database)
        after = post_many()

    assert (before, after) == ({200}, {401})


def test_no_unknown_token_is_cached_and_few_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_MAX_KNOWN", 2)
    for token in ["unknown", *(factories.token() for _ in range(3))]:
        seen_by(token)

    assert len(tokens._known) == 1


def test_a_token_that_is_gone_is_forgotten() -> None:
    token = factories.token()
    assert post(token) == 200
    assert len(tokens._known) == 1

    AccessToken.objects.get().delete()

    assert post(token) == 401
    assert not tokens._known


def test_a_cached_token_is_nobodys_to_modify() -> None:
    checksum = hashlib.sha256(factories.token(application=factories.application()).encode()).hexdigest()
    found = tokens.find(checksum)
    known = [cast("tuple[Any, Any]", tokens.cached(checksum))[0] for _ in range(2)]

    for one in (found, known[0]):
        one.scope = one.application.name = one.application.client_id = "changed"

    for one in (known[1], cast("tuple[Any, Any]", tokens.cached(checksum))[0]):
        assert one == found
        assert "changed" not in (one.scope, one.application.name, one.application.client_id)


class OnlyOfOneName(BearerTokenAuthentication):
    """A host's own class, which may reject a sender because of a cached token."""

    def authenticate(self, request: Request) -> Any:
        """Return the token if its application has the right name."""
        credentials = super().authenticate(request)
        if credentials and credentials[1].application.name != "cluster-a":
            raise AuthenticationFailed("another name")
        return credentials


def test_a_cached_token_makes_no_other_class_reject(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"AUTHENTICATION_CLASSES": [f"{__name__}.OnlyOfOneName"]}
    token = factories.token(application=factories.application(name="cluster-b"))
    before = post(token)
    get_application_model().objects.update(name="cluster-a")

    assert (before, post(token)) == (401, 200)


def many(users: int) -> Any:
    """Return a user who has the permission from a group of that many."""
    group = Group.objects.create(name="senders")
    group.permissions.set(Permission.objects.filter(codename="add_taskstatusevent"))
    group.user_set.set([factories.user() for _ in range(users)])
    return group.user_set.first()


@pytest.mark.parametrize("rejected", [False, True], ids=["valid body", "rejected body"])
@pytest.mark.parametrize(
    "take",
    [
        lambda user: user.groups.clear(),
        lambda user: Group.objects.get().permissions.clear(),
        lambda user: Group.objects.get().delete(),
        lambda user: Permission.objects.filter(codename="add_taskstatusevent").delete(),
    ],
)
def test_a_permission_that_is_taken_is_gone_with_the_next_post(take: Any, rejected: bool) -> None:
    user = many(2)
    token = factories.token(user=user)
    assert [post(token), post(token)] == [200, 200]

    take(user)

    assert [post(token, progress=101 if rejected else 6), post(token)] == [403, 403]
    assert TaskStatusEvent.objects.get().deliveries == 2


def test_a_permission_is_only_confirmed_of_a_user_who_had_it() -> None:
    user = factories.user()
    token = factories.token(user=user)
    assert [post(token), post(token)] == [403, 403]

    user.user_permissions.set(Permission.objects.filter(codename="add_taskstatusevent"))

    assert [post(token), post(token)] == [200, 200]
