"""The operations of the webhook and the token endpoint, with every answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..conf import AppSettings, app_settings
from ..exceptions import BodyIncomplete, DatabaseUnavailable, IdempotencyConflict, LengthRequired
from ..wire.fields import Schema
from .schemas import EXAMPLE

_DETAIL: Schema = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
_RECORDED: Schema = {
    "type": "object",
    "required": ["id", "task_id", "duplicate"],
    "properties": {
        "id": {"type": "integer", "description": "The event's id; a duplicate has the first one's."},
        "task_id": {"type": "string"},
        "duplicate": {"type": "boolean", "description": "Whether the event was stored before."},
    },
}
_HEADERS: Mapping[str, Schema] = {
    "X-Request-ID": {
        "description": "The request's own X-Request-ID, or one made here: the server's log has it.",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {
        "description": "The scheme to authenticate with (RFC 9110).",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the next attempt.",
        "schema": {"type": "integer"},
    },
}
#: By status: when it is the answer, and an example of its ``detail``.
_ANSWERS: Mapping[int, tuple[str, str]] = {
    400: (
        "The body ended before its announced length. Send the event again.",
        BodyIncomplete.default_detail,
    ),
    401: (
        "No token, or one that is unknown, expired or revoked. Get a new token, then send the event again.",
        "Could not validate credentials",
    ),
    403: (
        "The token lacks the scope, or its user the permission. Send it again once a person has granted it.",
        "Not enough permissions",
    ),
    409: (
        "The idempotency key belongs to an event of this task with another body. Do not send it again.",
        IdempotencyConflict.default_detail,
    ),
    411: (
        "The body cannot be read without a Content-Length. Do not send it again as it is.",
        LengthRequired.default_detail,
    ),
    413: ("The body is too long. Do not send it again.", "The body is longer than 1048576 bytes."),
    415: (
        "The Content-Type is not JSON. Do not send it again as it is.",
        'Unsupported media type "text/plain" in request.',
    ),
    429: (
        "Over a limit that the operator set. Send the event again after Retry-After seconds.",
        "Request was throttled. Expected available in 12 seconds.",
    ),
    503: (
        "The event could not be stored now. Send it again after Retry-After seconds.",
        DatabaseUnavailable.default_detail,
    ),
}


def description(settings: AppSettings) -> str:
    """Return what a sender must know, with the limits as they are set."""
    return (
        "Stores the event once, however often it is delivered, and moves the task's state.\n\n"
        "The same event again is answered with the same id and `duplicate: true`, so a delivery that was not "
        "answered can always be sent again. Events may arrive in any order.\n\n"
        f"Limits: {settings.max_body_bytes} bytes of body, {settings.max_nesting} levels of lists and "
        f"objects, {settings.max_string_length} characters in every string except `error_message`. "
        "Unknown keys are accepted and kept."
    )


def parameters() -> list[Schema]:
    """Return the headers that a delivery may have."""
    return [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "The sender's own name for this event, in ASCII. Without one (and without "
            "webhook-id) the body itself is the key.",
            "example": "5e0c2f1e-train-2041-epoch-3",
        },
        {
            "name": "X-Request-ID",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "A name for this delivery, for the server's log. If it is longer than 128 "
            "characters, or has any other than letters, digits and ._-:/+=, it is replaced, never rejected.",
        },
    ]


def request_body(body: Schema) -> Schema:
    """Return the request's body, with an example."""
    return {"required": True, "content": {"application/json": {"schema": body, "example": EXAMPLE}}}


def responses(validation_errors: Schema) -> dict[str, Schema]:
    """Return every answer of the webhook, by its status; ``validation_errors`` is the schema of the 422."""
    recorded = {"id": 17, "task_id": "train-2041", "duplicate": False}
    item = {"type": "missing", "loc": ["body", "task_id"], "msg": "Field required", "input": {"progress": 5}}
    responses = {
        200: _response("The event is stored, now or before.", _RECORDED, recorded),
        422: _response("The body breaks the schema.", validation_errors, {"detail": [item]}),
    }
    for status, (description, detail) in _ANSWERS.items():
        headers = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}.get(status, [])
        responses[status] = _response(description, _DETAIL, {"detail": detail}, headers)
    return {str(status): responses[status] for status in sorted(responses)}


def _response(description: str, schema: Schema, example: Any, headers: Iterable[str] = ()) -> Schema:
    return {
        "description": description,
        "headers": {name: _HEADERS[name] for name in ("X-Request-ID", *headers)},
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def webhook_operation(*, body: Schema, validation_errors: Schema, security: list[Schema]) -> Schema:
    """Return the webhook's operation; ``body`` and ``validation_errors`` are schemas."""
    return {
        "operationId": "tasks-task_webhook",
        "summary": "Task Webhook",
        "description": description(app_settings()),
        "tags": ["tasks"],
        "parameters": parameters(),
        "requestBody": request_body(body),
        "security": security,
        "responses": responses(validation_errors),
    }


_TOKEN_FORM: Schema = {
    "grant_type": {"type": "string", "enum": ["client_credentials", "password"], "default": "password"},
    "client_id": {"type": "string"},
    "client_secret": {"type": "string", "format": "password"},
    "username": {"type": "string"},
    "password": {"type": "string", "format": "password"},
    "scope": {"type": "string"},
}
_TOKEN: Schema = {
    "type": "object",
    "required": ["access_token", "expires_in", "token_type", "scope"],
    "properties": {
        "access_token": {"type": "string"},
        "expires_in": {"type": "integer", "description": "Seconds."},
        "token_type": {"type": "string"},
        "scope": {"type": "string"},
    },
}
_TOKEN_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
}


def token_operation() -> Schema:
    """Return the token endpoint's operation."""

    def response(description: str, schema: Schema, example: Any, **headers: Schema) -> Schema:
        content = {"application/json": {"schema": schema, "example": example}}
        return {"description": description, "content": content} | ({"headers": headers} if headers else {})

    retry = {"Retry-After": _HEADERS["Retry-After"]}
    issued = {"access_token": "cCYd…", "expires_in": 36000, "token_type": "Bearer", "scope": "tasks:webhook"}
    wait = {"detail": "No token can be issued now. Ask again."}
    throttled = {"detail": _ANSWERS[429][1]}
    return {
        "operationId": "login-access_token",
        "summary": "Login Access Token",
        "description": "A token for a cluster (`client_credentials`, RFC 6749 section 4.4), or for a person "
        "by `username` and `password` alone.",
        "tags": ["login"],
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": _TOKEN_FORM}}
            },
        },
        "security": [],
        "responses": {
            "200": response("A token.", _TOKEN, issued),
            "400": response("The form is not valid.", _TOKEN_ERROR, {"error": "invalid_grant"}),
            "401": response("The client's id or secret is wrong.", _TOKEN_ERROR, {"error": "invalid_client"}),
            "429": response("Over a limit that the operator set.", _DETAIL, throttled, **retry),
            "503": response("The database cannot be reached.", _DETAIL, wait, **retry),
        },
    }
