"""The app's own OpenAPI document.

It is made from the serializer, not by drf-spectacular, which has one object of settings for the process.
So it does not depend on the host's settings, and does not change the host's document.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from ..serializers import task_status_event
from ..wire.fields import Schema
from .operations import token_operation, webhook_operation
from .schemas import VALIDATION_ERROR, body_schema, enums, oauth2_scheme, ref, validation_errors

TITLE = "Sartiq Backend Server - Tasks"
_INFO: Schema = {"title": TITLE, "description": "Tasks API endpoints.", "version": "0.1.0"}


def document(*, webhook_path: str, token_path: str, authenticators: Iterable[Any]) -> Schema:
    """Return the app's own OpenAPI 3.1 document, with the published names.

    The paths include the host's prefix. ``authenticators`` are the webhook's; each for which drf-spectacular
    has an extension becomes a security scheme.
    """
    security, schemes = _security_of(authenticators)
    if "OAuth2PasswordBearer" in schemes:
        schemes["OAuth2PasswordBearer"] = oauth2_scheme(token_path)
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "paths": {
            webhook_path: {
                "post": webhook_operation(
                    body=ref("TaskStatusEvent"),
                    validation_errors=ref("HTTPValidationError"),
                    security=security,
                )
            },
            token_path: {"post": token_operation()},
        },
        "components": {
            "schemas": {
                "TaskStatusEvent": body_schema(task_status_event, has_components=True, has_null_type=True),
                "HTTPValidationError": validation_errors(ref("ValidationError")),
                "ValidationError": VALIDATION_ERROR,
                **enums(),
            },
            "securitySchemes": schemes,
        },
        "tags": [{"name": "tasks"}, {"name": "login"}],
    }


#: The extensions need no view: they describe the authenticator's class.
_NO_VIEW: Any = None


def _security_of(authenticators: Iterable[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    """Return the requirements, one of which a request has to meet, and the schemes that they name."""
    requirements: list[Schema] = []
    schemes: dict[str, Schema] = {}
    for authenticator in authenticators:
        extension = OpenApiAuthenticationExtension.get_match(authenticator)
        if extension is None:
            continue
        requirement = extension.get_security_requirement(_NO_VIEW)
        requirements += [requirement] if isinstance(requirement, dict) else requirement or []
        names: Any = extension.name
        definitions: Any = extension.get_security_definition(_NO_VIEW)
        if isinstance(names, str):
            schemes[names] = definitions
        else:
            schemes |= zip(names, definitions, strict=True)
    return requirements, schemes
