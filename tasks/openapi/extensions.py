"""Extensions of drf-spectacular, by which a host's own document describes the webhook."""

from __future__ import annotations

from typing import Any

from django.urls import NoReverseMatch, reverse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import spectacular_settings

from ..conf import app_settings
from ..serializers import task_status_event
from ..wire.fields import Schema
from .operations import description, parameters, request_body, responses
from .schemas import VALIDATION_ERROR, body_schema, oauth2_scheme, validation_errors

#: The package of the app: ``tasks`` in its repository, ``sartiq.tasks`` in a host.
_APP = __name__.rpartition(".openapi.")[0]


class WebhookSchema(AutoSchema):
    """The webhook's operation in a host's document.

    Its schemas are inlined, so that no name of theirs clashes with a component of the host.
    """

    def __get__(self, instance: Any, owner: Any) -> Any:
        """Return a new schema for each view: DRF shares one, to which threads would write at once."""
        if instance is None or instance in self.instance_schemas:
            return super().__get__(instance, owner)
        schema = type(self)()
        schema.view = instance
        return schema

    def get_operation(self, *args: Any, **kwargs: Any) -> Schema | None:
        """Return the operation, including the parameters in the host's prefix."""
        operation: Schema | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        has_null_type = not spectacular_settings.OAS_VERSION.startswith("3.0")
        body = body_schema(task_status_event, has_components=False, has_null_type=has_null_type)
        return operation | {
            "parameters": [*operation.get("parameters", []), *parameters()],
            "requestBody": request_body(body),
            "responses": responses(validation_errors(VALIDATION_ERROR)),
        }

    def get_operation_id(self) -> str:
        """Return the name that generated clients have for their function."""
        return "tasks-task_webhook"

    def get_summary(self) -> str:
        """Return the published title."""
        return "Task Webhook"

    def get_description(self) -> str:  # type: ignore[override]
        """Return what a sender must know, with the limits as they are set."""
        return description(app_settings())

    def get_tags(self) -> list[str]:
        """Return the published tag."""
        return ["tasks"]

    def get_request_serializer(self) -> None:
        """Return None: ``get_operation()`` adds the body's schema."""

    def get_response_serializers(self) -> Any:
        """Return nothing: ``get_operation()`` adds the answers."""
        return {}


class SignatureScheme(OpenApiAuthenticationExtension):
    """The security scheme of a signed delivery."""

    target_class = f"{_APP}.auth.signatures.SignatureAuthentication"
    name = "StandardWebhooks"

    def get_security_definition(self, auto_schema: Any) -> Schema:
        """Return the scheme: OpenAPI has none for signatures, so it is described as a header."""
        return {
            "type": "apiKey",
            "in": "header",
            "name": "webhook-signature",
            "description": "Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature.",
        }


class SignedTokenScheme(OpenApiAuthenticationExtension):
    """The security schemes of a signed delivery with a token."""

    target_class = f"{_APP}.auth.signatures.SignedTokenAuthentication"
    name = ["OAuth2PasswordBearer", "StandardWebhooks"]

    def get_security_definition(self, auto_schema: Any) -> list[Schema]:
        """Return both schemes."""
        return [_token_scheme(), SignatureScheme(None).get_security_definition(auto_schema)]

    def get_security_requirement(self, auto_schema: Any) -> Schema:
        """Return that both are needed at once."""
        return {name: [] for name in self.name}


class BearerTokenScheme(OpenApiAuthenticationExtension):
    """The security schemes of a bearer token: log in to get one (the published name), or paste one."""

    target_class = f"{_APP}.auth.authentication.BearerTokenAuthentication"
    name = ["OAuth2PasswordBearer", "BearerToken"]

    def get_security_definition(self, auto_schema: Any) -> list[Schema]:
        """Return both schemes."""
        return [
            _token_scheme(),
            {"type": "http", "scheme": "bearer", "description": "A token that you have."},
        ]

    def get_security_requirement(self, auto_schema: Any) -> list[Schema]:
        """Return that one of them is needed."""
        return [{name: []} for name in self.name]


def _token_scheme() -> Schema:
    """Return the scheme of django-oauth-toolkit's tokens.

    Under a prefix that captures, the token endpoint has no path of its own to name.
    """
    try:
        return oauth2_scheme(reverse("sartiq_tasks:access-token"))
    except NoReverseMatch:
        return {"type": "http", "scheme": "bearer"}
