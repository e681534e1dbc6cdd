"""The OpenAPI document: made from the serializers that validate, with the envelope around each answer."""

import copy
from typing import Any

from django.utils.translation import gettext
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from exchange.api.wire import TIME_FORMAT
from exchange.kernel.errors import DomainError, error_table

JSON_TYPE = "application/json"
ERROR_REFERENCE = {"$ref": "#/components/schemas/Refusal"}
TIME_EXAMPLE = "2025-05-18T10:30:00.123456Z"

REFUSAL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "What every refused call answers. The codes are listed at GET /api/v1/errors.",
    "required": ["code", "message", "data"],
    "properties": {
        "code": {"type": "integer", "minimum": 1000, "description": "Permanent number of the refusal."},
        "message": {"type": "string", "description": "In the language of Accept-Language: en or zh-hant."},
        "data": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {"type": "string", "description": "Permanent name of the refusal."},
                "fields": {
                    "type": "object",
                    "additionalProperties": True,
                    "description": "Fields at fault, each with the reasons in words.",
                },
            },
            "additionalProperties": True,
        },
    },
}


class EnvelopeSchema(AutoSchema):  # type: ignore[misc]
    """Describes each call with {code, message, data} around its answer, and the refusals beside it."""

    def _get_response_for_code(
        self, serializer: Any, status_code: str, media_types: Any = None, direction: str = "response"
    ) -> dict[str, Any]:
        described: dict[str, Any] = super()._get_response_for_code(serializer, status_code, media_types, direction)
        content = described.get("content", {}).get(JSON_TYPE)
        if content is None:
            return described
        content["schema"] = {
            "type": "object",
            "required": ["code", "message", "data"],
            "properties": {
                "code": {"type": "integer", "description": "0 is success."},
                "message": {"type": "string"},
                "data": content["schema"],
            },
        }
        return described

    def _get_response_bodies(self, direction: str = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        bodies["default"] = {
            "description": "Refused: nothing was changed, unless the error says so.",
            "content": {JSON_TYPE: {"schema": copy.deepcopy(ERROR_REFERENCE)}},
        }
        return bodies


class JwtScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]
    """Names the bearer token in the document."""

    target_class = "exchange.api.authentication.JwtAuthentication"
    name = "bearerToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class PageSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]
    """Names the session cookie in the document."""

    target_class = "exchange.api.authentication.PageSessionAuthentication"
    name = "pageSession"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the scheme."""
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "The session of a signed-in page; unsafe calls also send X-CSRFToken.",
        }


def error_rows() -> list[dict[str, Any]]:
    """Return the published table of refusals, by code, in the language of the request.

    The words are templates: names in braces are fields of the refusal's data.
    """
    return [
        {
            "code": cls.code,
            "error": cls.name,
            "status": cls.status,
            "message": _braces(gettext(cls.message)),
            "meaning": (cls.__doc__ or "").strip().partition("\n")[0],
        }
        for cls in error_table()
        if cls is not DomainError
    ]


def _braces(template: str) -> str:
    """Write %(name)s as {name}: what a reader of the table expects."""
    return template.replace("%(", "{").replace(")s", "}")


def add_error_table(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:  # noqa: FBT001 -- the hook's signature is drf-spectacular's
    """Put the shape of refusals and the form of times into the document."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas["Refusal"] = copy.deepcopy(REFUSAL_SCHEMA)
    result["info"]["x-time-format"] = TIME_FORMAT
    return result
