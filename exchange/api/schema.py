"""The OpenAPI document: made from the serializers that validate, with the envelope around each answer."""

import copy
from typing import Any, Literal

from django.utils.translation import gettext
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from exchange.api.requests import StrictSerializer
from exchange.api.wire import TIME_FORMAT
from exchange.kernel.errors import DomainError, error_table

JSON_TYPE = "application/json"
ERROR_REFERENCE = {"$ref": "#/components/schemas/Refusal"}
SUCCESS_CODE = {"type": "integer", "const": 0, "description": "Success."}
REFUSAL_CODE = {"type": "integer", "minimum": 1000, "description": "Permanent number of the refusal."}
ENUM_MARK = "x-spec-enum-id"

REFUSAL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "What every refused call answers. The codes are listed at GET /api/v1/errors.",
    "required": ["code", "message", "data"],
    "properties": {
        "code": REFUSAL_CODE,
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


class EnvelopeSchema(AutoSchema):
    """Describes each call with {code, message, data} around its answer, and the refusals beside it."""

    def _get_response_for_code(
        self, serializer: Any, status_code: str, media_types: Any = None, direction: str = "response"
    ) -> dict[str, Any]:
        described: dict[str, Any] = super()._get_response_for_code(  # type: ignore[no-untyped-call]
            serializer, status_code, media_types, direction
        )
        content = described.get("content", {}).get(JSON_TYPE)
        if content is None:
            return described
        content["schema"] = {
            "type": "object",
            "required": ["code", "message", "data"],
            "properties": {
                "code": dict(SUCCESS_CODE if status_code.startswith("2") else REFUSAL_CODE),
                "message": {"type": "string"},
                "data": content["schema"],
            },
        }
        return described

    def _postprocess_serializer_schema(self, schema: dict[str, Any], serializer: Any, direction: str) -> Any:
        shape: dict[str, Any] = super()._postprocess_serializer_schema(  # type: ignore[no-untyped-call]
            schema, serializer, direction
        )
        if isinstance(serializer, StrictSerializer):
            shape["additionalProperties"] = False
        return shape

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        bodies["default"] = {
            "description": "Refused: nothing was changed, unless the error says so.",
            "content": {JSON_TYPE: {"schema": copy.deepcopy(ERROR_REFERENCE)}},
        }
        return bodies


class JwtScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Names the bearer token in the document."""

    target_class = "exchange.api.authentication.JwtAuthentication"
    name = "bearerToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class PageSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
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


def add_refusal_shape(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Put the shape of refusals and the form of times into the document."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas["Refusal"] = copy.deepcopy(REFUSAL_SCHEMA)
    result["info"]["x-time-format"] = TIME_FORMAT
    _strip(result)
    return result


def _strip(node: Any) -> None:
    """Take out the generator's own marks, in place."""
    if isinstance(node, dict):
        node.pop(ENUM_MARK, None)
        for inner in node.values():
            _strip(inner)
    elif isinstance(node, list):
        for inner in node:
            _strip(inner)
