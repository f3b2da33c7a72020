"""Throttles: the senders that they stop, their answers, and that they cost nothing while they are off."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpResponse
from django.test import Client
from oauth2_provider.models import get_access_token_model, get_application_model
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from tasks.auth.throttling import count_delivery
from tasks.models import RejectedDelivery, TaskStatusEvent
from tests import factories
from tests.auth.test_signatures import NEW, OTHER, SIGNATURE, signed
from tests.conftest import WEBHOOK
from tests.factories import body

pytestmark = pytest.mark.django_db
TOKEN = "/api/v1/login/access-token"


class BrokenCache(LocMemCache):
    def get(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("no cache")


class CacheAsked(BaseException):
    """Fails the test: the throttles let a request through whatever ``Exception`` the cache raises."""


class NoCache(LocMemCache):
    def get(self, *args: Any, **kwargs: Any) -> Any:
        raise CacheAsked

    set = get


@pytest.fixture(autouse=True)
def _empty_cache(settings: Any) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    cache.clear()


def use_cache(settings: Any, backend: type) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{backend.__module__}.{backend.__qualname__}"}}


def post(token: str, address: str = "192.0.2.1", **extra: Any) -> HttpResponse:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
    return Client().post(WEBHOOK, body(), content_type="application/json", headers=headers, **extra)  # type: ignore[return-value]


def ask_token(address: str = "192.0.2.1") -> HttpResponse:
    form = {"username": "ada", "password": "wrong"}
    return Client().post(TOKEN, form, headers={"X-Forwarded-For": address})  # type: ignore[return-value]


def assert_throttled(response: Any) -> None:
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 60
    assert response["Content-Type"] == "application/json"
    assert response.json()["detail"].startswith("Request was throttled.")


def test_deliveries_are_limited_for_each_token(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_DELIVERIES": "2/min"}
    busy, other = factories.client_token(), factories.client_token()

    statuses = [post(busy).status_code for _ in range(2)]
    beyond = post(busy, address="192.0.2.2")

    assert statuses == [200, 200]
    assert_throttled(beyond)
    assert post(other).status_code == 200
    assert TaskStatusEvent.objects.get().deliveries == 3


def test_credentials_of_two_kinds_with_one_key_are_counted_apart(settings: Any) -> None:
    """Such as a token of a host's own, and one of django-oauth-toolkit, both the first row of their table."""
    settings.SARTIQ_TASKS = {"THROTTLE_DELIVERIES": "1/min"}
    request = Request(APIRequestFactory().post(WEBHOOK))
    for kind in ("OwnToken", "OtherToken"):
        request.auth = type(kind, (), {"pk": 1})()
        count_delivery(request)
        with pytest.raises(Throttled):
            count_delivery(request)


def test_a_limit_is_over_when_its_time_is(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_DELIVERIES": "1/min"}
    token, now = factories.client_token(), 1000.0
    monkeypatch.setattr("tasks.auth.throttling._Throttle.timer", lambda self: now)

    first, second = post(token), post(token)
    now = 1061.0

    assert (first.status_code, second.status_code, post(token).status_code) == (200, 429, 200)
    assert second["Retry-After"] == "60"


def test_a_clock_that_was_ahead_stops_nobody_until_its_time_has_come(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_DELIVERIES": "1/min"}
    token, now = factories.client_token(), 1000.0 + 5 * 3600
    monkeypatch.setattr("tasks.auth.throttling._Throttle.timer", lambda self: now)

    statuses = [post(token).status_code for _ in range(2)]
    now = 1000.0
    statuses += [post(token).status_code for _ in range(2)]
    now -= 30  # no more than clocks of several servers may differ

    assert [*statuses, post(token).status_code] == [200, 429, 200, 429, 429]


@pytest.mark.parametrize("setting", ["THROTTLE_DELIVERIES", "THROTTLE_FAILURES", "THROTTLE_TOKEN_REQUESTS"])
def test_a_limit_that_was_lowered_says_how_long_to_wait(
    settings: Any, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    token, now = factories.client_token(), 1000.0
    monkeypatch.setattr("tasks.auth.throttling._Throttle.timer", lambda self: now)
    requests = {
        "THROTTLE_DELIVERIES": lambda: post(token),
        "THROTTLE_FAILURES": lambda: post("bad"),
        "THROTTLE_TOKEN_REQUESTS": lambda: Client().post("/api/v1/login/access-token"),
    }
    settings.SARTIQ_TASKS = {setting: "5/min"}
    for _ in range(5):
        requests[setting]()
        now += 1

    settings.SARTIQ_TASKS = {setting: "2/min"}

    answer = requests[setting]()
    assert (answer.status_code, answer["Retry-After"]) == (429, "58")
    now += 57.9
    assert requests[setting]().status_code == 429
    now += 0.2
    assert requests[setting]().status_code != 429


def test_bad_credentials_are_limited_for_each_address(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_FAILURES": "2/min"}

    statuses = [post(f"bad-{number}").status_code for number in range(2)]

    assert statuses == [401, 401]
    assert_throttled(post("bad-3"))
    assert post("bad-4", address="192.0.2.2").status_code == 401


def test_a_valid_token_is_never_rejected_because_of_invalid_ones_from_its_address(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_FAILURES": "1/min"}
    for _ in range(3):
        post("bad")

    assert post(factories.client_token()).status_code == 200


def test_valid_credentials_do_not_use_the_cache(settings: Any) -> None:
    use_cache(settings, NoCache)
    settings.SARTIQ_TASKS = {"THROTTLE_FAILURES": "1/min"}

    assert post(factories.client_token()).status_code == 200


def test_no_credentials_at_all_are_not_counted(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_FAILURES": "1/min"}

    assert [Client().post(WEBHOOK).status_code for _ in range(3)] == [401] * 3


def test_the_token_endpoint_is_limited_for_each_address(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_TOKEN_REQUESTS": "2/min"}

    assert [ask_token().status_code for _ in range(2)] == [400, 400]
    assert_throttled(ask_token())
    assert ask_token(address="192.0.2.2").status_code == 400


def test_an_address_is_what_the_proxy_says_and_not_the_client(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_TOKEN_REQUESTS": "1/min"}

    first = ask_token(address="198.51.100.1, 192.0.2.1")
    disguised = ask_token(address="198.51.100.2, 192.0.2.1")

    assert (first.status_code, disguised.status_code) == (400, 429)


def test_off_costs_no_cache(settings: Any) -> None:
    use_cache(settings, NoCache)
    settings.SARTIQ_TASKS = {}

    assert post(factories.client_token()).status_code == 200
    assert post("bad").status_code == 401
    assert ask_token().status_code == 400


def test_a_cache_that_fails_loses_no_event(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    use_cache(settings, BrokenCache)
    settings.SARTIQ_TASKS = {"THROTTLE_DELIVERIES": "1/min"}

    assert post(factories.client_token()).status_code == 200
    assert "so nothing is throttled: cache='default' counted='delivery'" in caplog.text


def test_another_cache(settings: Any) -> None:
    use_cache(settings, BrokenCache)
    settings.CACHES["limits"] = {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "limits",
    }
    settings.SARTIQ_TASKS = {"THROTTLE_DELIVERIES": "1/min", "THROTTLE_CACHE": "limits"}
    token = factories.client_token()
    caches["limits"].clear()

    assert [post(token).status_code, post(token).status_code] == [200, 429]


def test_a_signer_is_limited_by_its_name(settings: Any) -> None:
    settings.SARTIQ_TASKS = {
        "AUTHENTICATION_CLASSES": [SIGNATURE],
        "SIGNING_SECRETS": {"a": [NEW], "b": [OTHER]},
        "THROTTLE_DELIVERIES": "1/min",
    }

    def send(secret: str) -> int:
        headers = signed(secret=secret)
        return Client().post(WEBHOOK, body(), content_type="application/json", headers=headers).status_code

    assert [send(secret) for secret in (NEW, NEW, OTHER)] == [200, 429, 200]


def send(token: str, content: Any, key: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}", **({"Idempotency-Key": key} if key else {})}
    return Client().post(WEBHOOK, content, content_type="application/json", headers=headers).status_code


def counted() -> int:
    """Return how many deliveries the cache has counted."""
    kept = caches["default"]._cache.values()  # type: ignore[attr-defined]
    return sum(len(pickle.loads(value)) for value in kept)


def change_the_name(token: str) -> None:
    get_application_model().objects.update(name="renamed")


@pytest.mark.parametrize(
    ("before", "content", "key", "status"),
    [
        (None, body(progress=6), "", 200),
        (change_the_name, body(progress=6), "", 200),
        (None, body(progress=101), "", 422),
        (None, b"{", "", 422),
        (None, body(progress=7), "taken", 409),
        (change_the_name, body(progress=101), "", 422),
    ],
    ids=["cached", "reauthenticated", "invalid", "no JSON", "conflict", "reauthenticated and invalid"],
)
@pytest.mark.parametrize("is_users", [False, True], ids=["client", "user"])
def test_each_delivery_counts_once(
    settings: Any, before: Any, content: Any, key: str, status: int, is_users: bool
) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_DELIVERIES": "100/min"}
    user = factories.user("add_taskstatusevent") if is_users else None
    token = factories.token(application=factories.application(), user=user)
    assert [send(token, body()), send(token, body(), "taken")] == [200, 200]
    assert counted() == 2
    if before:
        before(token)

    assert send(token, content, key) == status

    assert counted() == 3


def test_a_limit_of_four_keeps_four_rejected_deliveries(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_DELIVERIES": "4/min"}
    token = factories.client_token()

    assert [send(token, body(progress=101)) for _ in range(5)] == [422] * 4 + [429]
    assert RejectedDelivery.objects.count() == 4


def test_a_revoked_token_gets_a_401_even_beyond_its_limit(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_DELIVERIES": "2/min", "THROTTLE_FAILURES": "2/min"}
    token = factories.client_token()
    before = [send(token, body()) for _ in range(3)]
    get_access_token_model().objects.get().revoke()

    assert before == [200, 200, 429]
    assert [send(token, body()) for _ in range(3)] == [401, 401, 429]


def test_tokens_of_one_key_in_two_schemas_have_a_limit_each(settings: Any) -> None:
    settings.SARTIQ_TASKS = {"THROTTLE_DELIVERIES": "1/min"}
    assert send(factories.token(pk=7), body()) == 200
    get_access_token_model().objects.all().delete()

    assert send(factories.token(pk=7), body()) == 200
