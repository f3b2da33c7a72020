"""The OpenAPI document: the published contract, told from the serializer by drf-spectacular."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework.fields import empty

from .serializers import TaskStatusEventSerializer
from .wire.fields import Schema, WireField

_PACKAGE = __name__.rpartition(".")[0]


def _ref(component: str) -> Schema:
    return {"$ref": f"#/components/schemas/{component}"}


def _component_title(component: str) -> str:
    return component.rpartition("__")[2].removesuffix("-Input")


# FastAPI's own two, which senders' generated clients know by these names.
_VALIDATION_ERRORS: dict[str, Schema] = {
    "HTTPValidationError": {
        "title": "HTTPValidationError",
        "type": "object",
        "properties": {"detail": {"title": "Detail", "type": "array", "items": _ref("ValidationError")}},
    },
    "ValidationError": {
        "title": "ValidationError",
        "type": "object",
        "required": ["loc", "msg", "type"],
        "properties": {
            "loc": {
                "title": "Location",
                "type": "array",
                "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            },
            "msg": {"title": "Message", "type": "string"},
            "type": {"title": "Error Type", "type": "string"},
            "input": {"title": "Input"},
            "ctx": {"title": "Context", "type": "object"},
        },
    },
}
_ENUMS: dict[str, Schema] = {
    field.component: {"title": _component_title(field.component), **field.schema}
    for field in TaskStatusEventSerializer().fields.values()
    if isinstance(field, WireField) and field.component
}


def only_this_app(endpoints: list[Any], **kwargs: Any) -> list[Any]:
    """Keep the app's own endpoints in its document, in a backend that has others."""
    return [endpoint for endpoint in endpoints if endpoint[3].cls.__module__.startswith(f"{_PACKAGE}.")]


#: What the app's document says of itself; a backend's own document is its own affair.
DOCUMENT: dict[str, Any] = {
    "TITLE": "Sartiq Backend Server - Tasks",
    "DESCRIPTION": "Tasks API endpoints.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "TAGS": [{"name": "tasks"}],
    "PREPROCESSING_HOOKS": [f"{__name__}.only_this_app"],
    "POSTPROCESSING_HOOKS": [],
    "APPEND_COMPONENTS": {"schemas": {**_VALIDATION_ERRORS, **_ENUMS}},
}

_DETAIL: Schema = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
_RECORDED: Schema = {
    "type": "object",
    "required": ["id", "task_id", "duplicate"],
    "properties": {
        "id": {"type": "integer", "description": "The event's id; a duplicate's is the first one's."},
        "task_id": {"type": "string"},
        "duplicate": {"type": "boolean", "description": "Whether the event was stored before."},
    },
}
_RESPONSES: dict[int, Schema] = {
    200: _RECORDED,
    400: _DETAIL,
    401: _DETAIL,
    403: _DETAIL,
    409: _DETAIL,
    411: _DETAIL,
    413: _DETAIL,
    415: _DETAIL,
    422: _ref("HTTPValidationError"),
    429: _DETAIL,
    503: _DETAIL,
}


class WebhookSchema(AutoSchema):
    """The webhook's operation, by the names that it was published under.

    A class of the view rather than a decorator of its method, which would build on a backend's
    ``DEFAULT_SCHEMA_CLASS``, and that may be none of drf-spectacular's.
    """

    def get_operation_id(self) -> str:
        """Return the name that generated clients have for their function."""
        return "tasks-task_webhook"

    def get_summary(self) -> str:
        """Return the published title."""
        return "Task Webhook"

    def get_tags(self) -> list[str]:
        """Return the published tag."""
        return ["tasks"]

    def get_request_serializer(self) -> type[TaskStatusEventSerializer]:
        """Return what is posted."""
        return TaskStatusEventSerializer

    def get_response_serializers(self) -> Any:
        """Return what is answered, by status."""
        return _RESPONSES


class TaskStatusEventSchema(OpenApiSerializerExtension):
    """The serializer's schema as the original endpoint published it."""

    target_class = f"{_PACKAGE}.serializers.TaskStatusEventSerializer"

    def map_serializer(self, auto_schema: Any, direction: Any) -> Schema:
        """Return the schema of the body."""
        fields = self.target.fields
        return {
            "title": self.get_name(auto_schema, direction),
            "type": "object",
            "description": self.target.__doc__.partition(".")[0],
            "required": [name for name, field in fields.items() if field.required],
            "properties": {name: _property(field) for name, field in fields.items()},
        }

    def get_name(self, auto_schema: Any, direction: Any) -> str:
        """Return the component's name."""
        return "TaskStatusEvent"


def _property(field: Any) -> Schema:
    schema = _ref(field.component) if field.component else dict(field.schema)
    if field.allow_null:
        schema = {"anyOf": [schema, {"type": "null"}]}
    if field.title:
        schema["title"] = field.title
    if field.help_text:
        schema["description"] = field.help_text
    if field.default is not empty:
        schema["default"] = field.default()
    return schema


class SignatureScheme(OpenApiAuthenticationExtension):
    """The security scheme of a delivery that is signed."""

    target_class = f"{_PACKAGE}.auth.signatures.SignatureAuthentication"
    name = "StandardWebhooks"

    def get_security_definition(self, auto_schema: Any) -> Schema:
        """Return the scheme: OpenAPI knows none for signatures, so it is told as the header."""
        return {
            "type": "apiKey",
            "in": "header",
            "name": "webhook-signature",
            "description": "Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature.",
        }


class SignedTokenScheme(OpenApiAuthenticationExtension):
    """The security schemes of a delivery that carries a token and is signed."""

    target_class = f"{_PACKAGE}.auth.signatures.SignedTokenAuthentication"
    name = ["OAuth2PasswordBearer", "StandardWebhooks"]

    def get_security_definition(self, auto_schema: Any) -> list[Schema]:
        """Return both schemes."""
        schemes = (BearerTokenScheme(None), SignatureScheme(None))
        return [scheme.get_security_definition(auto_schema) for scheme in schemes]


class BearerTokenScheme(OpenApiAuthenticationExtension):
    """The security scheme, by the name that generated clients know."""

    target_class = f"{_PACKAGE}.auth.authentication.BearerTokenAuthentication"
    name = "OAuth2PasswordBearer"

    def get_security_definition(self, auto_schema: Any) -> Schema:
        """Return the scheme; the token URL is relative to the document."""
        return {"type": "oauth2", "flows": {"password": {"scopes": {}, "tokenUrl": "login/access-token"}}}
