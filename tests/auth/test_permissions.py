"""The permission to post events: it decides as ``has_perm()`` does, at less cost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.db import connection
from oauth2_provider.models import get_access_token_model

from tasks.auth import permissions
from tasks.auth.permissions import ADD_EVENTS, MayPostEvents, may_add_events
from tests import factories

pytestmark = pytest.mark.django_db
DJANGOS = "django.contrib.auth.backends.ModelBackend"


class Generous:
    """A backend that grants everything."""

    def has_perm(self, user: Any, permission: str, obj: Any = None) -> bool:
        return True


class Strict:
    """A backend that forbids everything, whatever others say."""

    def has_perm(self, user: Any, permission: str, obj: Any = None) -> bool:
        raise PermissionDenied


class WithoutPermissions:
    """A backend that knows nothing of permissions, such as django-oauth-toolkit's."""


def may(user: Any) -> bool:
    """Return whether ``user`` may add events, and assert that ``has_perm()`` says the same."""
    loaded, other = get_user_model().objects.get(pk=user.pk), get_user_model().objects.get(pk=user.pk)
    assert may_add_events(loaded) == other.has_perm(ADD_EVENTS)
    return may_add_events(loaded)


def group(*permissions: str) -> Group:
    created = Group.objects.create(name="senders")
    created.permissions.set(Permission.objects.filter(codename__in=permissions))
    return created


def test_a_user_with_the_permission() -> None:
    factories.user()
    assert may(factories.user("add_taskstatusevent", "view_task"))


@pytest.mark.parametrize("permissions", [(), ("view_task", "view_taskstatusevent")])
def test_a_user_without_it(permissions: tuple[str, ...]) -> None:
    factories.user("add_taskstatusevent")
    group("add_taskstatusevent").user_set.add(factories.user())

    assert not may(factories.user(*permissions))


@pytest.mark.parametrize(
    ("permissions", "expected"), [(["add_taskstatusevent", "view_task"], True), (["view_task"], False)]
)
def test_a_user_of_a_group(permissions: list[str], expected: bool) -> None:
    user = factories.user()
    user.groups.add(group(*permissions), Group.objects.create(name="others"))

    assert may(user) is expected


def test_a_permission_of_that_name_of_another_app_is_another() -> None:
    user = factories.user()
    theirs = Permission.objects.get(codename="add_user")
    theirs.codename = "add_taskstatusevent"
    theirs.save()
    user.user_permissions.add(theirs)

    assert not may(user)


@pytest.mark.parametrize("active", [True, False])
def test_a_superuser(active: bool) -> None:
    assert may(factories.user(is_superuser=True, is_active=active)) is active


def test_a_deactivated_user() -> None:
    assert not may(factories.user("add_taskstatusevent", is_active=False))


@pytest.mark.parametrize(
    ("backends", "permissions", "expected"),
    [
        ([Generous], [], True),
        ([DJANGOS, Generous], [], True),
        ([Strict, DJANGOS], ["add_taskstatusevent"], False),
        ([WithoutPermissions, DJANGOS], ["add_taskstatusevent"], True),
        ([WithoutPermissions, DJANGOS], [], False),
        ([WithoutPermissions], ["add_taskstatusevent"], False),
    ],
)
def test_other_backends_have_their_say(
    settings: Any, backends: list[Any], permissions: list[str], expected: bool
) -> None:
    settings.AUTHENTICATION_BACKENDS = [
        backend if isinstance(backend, str) else f"{__name__}.{backend.__name__}" for backend in backends
    ]

    assert may(factories.user(*permissions)) is expected


def test_a_user_model_with_its_own_idea_of_permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "has_perm", lambda user, permission, obj=None: permission == ADD_EVENTS)

    assert may(factories.user())


def test_a_user_model_that_knows_no_superusers() -> None:
    class Bare:
        def has_perm(self, permission: str) -> bool:
            return permission == ADD_EVENTS

    assert may_add_events(Bare())


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's connections do not die")
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_died_is_replaced() -> None:
    factories.token(user=factories.user("add_taskstatusevent"))
    request: Any = SimpleNamespace(auth=get_access_token_model().objects.select_related("user").get())
    assert connection.connection is not None
    connection.connection.close()

    assert MayPostEvents().has_permission(request, None)


def test_users_of_another_database_are_asked_for_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of them could not be confirmed by the statement that stores the event."""
    monkeypatch.setattr("tasks.auth.permissions.alias_to_confirm", lambda *models: None)
    user, conditions = factories.user("add_taskstatusevent"), list[Any]()

    for permitted in (True, False):
        loaded = get_user_model().objects.get(pk=user.pk)
        assert may_add_events(loaded, conditions) is permitted
        user.user_permissions.clear()
    assert conditions == []


def test_it_remembers_no_more_users_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "_permitted", {})
    monkeypatch.setattr(permissions, "_MAX_PERMITTED", 2)
    known = []

    for _ in range(5):
        assert may(factories.user("add_taskstatusevent"))
        known.append(len(permissions._permitted))
    assert known == [1, 2, 1, 2, 1]
