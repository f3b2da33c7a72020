"""Checks that senders can get credentials, and that these lead to a user who may post."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.utils.module_loading import import_string
from rest_framework.authentication import BaseAuthentication
from rest_framework.settings import api_settings

from ..conf import AppSettings
from ..judgements import text
from .settings import fault, given


@checks.register("sartiq_tasks")
def check_scope(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that django-oauth-toolkit knows the scope: otherwise no client can get a token for it."""
    scope = given("SCOPE", AppSettings.scope)
    provider = getattr(django_settings, "OAUTH2_PROVIDER", None) or {}
    if text(scope) or "SCOPES_BACKEND_CLASS" in provider or scope in (provider.get("SCOPES") or {}):
        return []
    return [
        checks.Warning(
            f"django-oauth-toolkit does not know the scope {scope!r}, so no sender can get a token for it.",
            hint=f'Add it: OAUTH2_PROVIDER = {{"SCOPES": {{{scope!r}: "Post the status of tasks"}}}}.',
            id="sartiq_tasks.W002",
        )
    ]


@checks.register("sartiq_tasks")
def check_signatures(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that signatures and secrets are set together: either alone accepts no signature."""
    classes = given("AUTHENTICATION_CLASSES", AppSettings.authentication_classes)
    if not isinstance(classes, (list, tuple)):
        return []
    signatures = f"{_app()}.auth.signatures"
    is_asked = any(str(path).startswith(f"{signatures}.") for path in classes)
    if is_asked == bool(given("SIGNING_SECRETS", {})):
        return []
    if is_asked:
        fault = "AUTHENTICATION_CLASSES asks for signatures, but SIGNING_SECRETS is empty, so none is valid."
        hint = "Set SIGNING_SECRETS to a dict of sources to lists of secrets."
    else:
        fault = "SIGNING_SECRETS is set, but no class in AUTHENTICATION_CLASSES checks signatures."
        hint = (
            f"Add {signatures}.SignatureAuthentication to AUTHENTICATION_CLASSES, or remove SIGNING_SECRETS."
        )
    return [checks.Warning(fault, hint=hint, id="sartiq_tasks.W003")]


@checks.register("sartiq_tasks")
def check_credentials(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that credentials other than django-oauth-toolkit's can lead to a user who may post."""
    classes = given("AUTHENTICATION_CLASSES", AppSettings.authentication_classes)
    if fault("AUTHENTICATION_CLASSES", classes):
        return []  # check_settings() reports it
    own = f"{_app()}.auth."
    permissions = given("PERMISSION_CLASSES", AppSettings.permission_classes)
    if all(path.startswith(own) for path in classes) or permissions != AppSettings.permission_classes:
        return []
    messages: list[checks.CheckMessage] = []
    if not hasattr(get_user_model(), "has_perm"):
        messages.append(
            checks.Warning(
                "The user model has no has_perm(), so MayPostEvents answers 403 to every user.",
                hint="Inherit django.contrib.auth.models.PermissionsMixin, or set PERMISSION_CLASSES.",
                id="sartiq_tasks.W043",
            )
        )
    first = import_string(classes[0])
    if getattr(first, "authenticate_header", None) is BaseAuthentication.authenticate_header:
        messages.append(
            checks.Warning(
                f"{classes[0]} is first and has no authenticate_header(), so a delivery without valid "
                "credentials is answered 403 instead of 401.",
                hint="Put a class first that has one.",
                id="sartiq_tasks.W044",
            )
        )
    return messages


@checks.register("sartiq_tasks")
def check_addresses(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that DRF can tell the addresses by which the throttles count."""
    number = api_settings.NUM_PROXIES
    if not (given("THROTTLE_FAILURES", None) or given("THROTTLE_TOKEN_REQUESTS", None)):
        return []
    if number is None or (type(number) is int and number >= 0):
        return []
    return [
        checks.Warning(
            f"NUM_PROXIES is {number!r}, so DRF cannot tell a client's address, and THROTTLE_FAILURES and "
            "THROTTLE_TOKEN_REQUESTS limit nobody behind a proxy.",
            hint='Set REST_FRAMEWORK["NUM_PROXIES"] to the number of your proxies: 0, 1 and so on.',
            id="sartiq_tasks.W046",
        )
    ]


def _app() -> str:
    return apps.get_app_config("sartiq_tasks").name
