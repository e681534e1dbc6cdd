"""What a request body must be before any serializer sees it, and the base of strict serializers."""

from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from exchange.api import wire
from exchange.api.envelope import SUCCESS
from exchange.api.errors import BodyTooLargeError


class ReadRequest(ASGIRequest):
    """A request whose body `exchange.api.wire.loads` has read already, from elsewhere than HTTP.

    Args:
        content: What the body says; None without a body.
    """

    def __init__(self, scope: dict[str, Any], content: Any) -> None:
        length = b"0" if content is None else b"1"  # any but 0 has the view ask for the body
        headers = [*scope["headers"], (b"content-type", b"application/json"), (b"content-length", length)]
        super().__init__({**scope, "headers": headers}, BytesIO())
        self.content = content


class StrictJsonParser(BaseParser):
    """Reads JSON of at most 1 MiB, strictly."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any] | ReadRequest,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Read the body; one byte more than allowed is enough to refuse it."""
        if isinstance(stream, ReadRequest):
            return stream.content
        body = stream.read(settings.REQUEST_BODY_BYTES_MAX + 1)
        if len(body) > settings.REQUEST_BODY_BYTES_MAX:
            raise BodyTooLargeError(bytes_max=settings.REQUEST_BODY_BYTES_MAX)
        return wire.loads(body)


class EnvelopeRenderer(BaseRenderer):
    """Puts every answer into {code, message, data}."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Write the envelope; code and words are the response's own, if it has some."""
        response = (renderer_context or {}).get("response")
        code = getattr(response, "envelope_code", 0)
        message = getattr(response, "envelope_message", SUCCESS)
        return wire.dumps({"code": code, "message": message, "data": data})


class JsonOnly(BaseContentNegotiation):
    """Every answer is JSON, whatever the Accept header says; a browser may look at it too."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the JSON parser when the body is declared as JSON, else nothing: 415."""
        declared = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == declared), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the first renderer."""
        return renderers[0], renderers[0].media_type


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses fields it does not know: a typing error must not pass as a default."""

    def to_internal_value(self, data: Any) -> Any:
        """Check the form, naming unknown fields beside all other faults."""
        unknown = {}
        if isinstance(data, Mapping):
            unknown = {name: [str(_("Unknown field."))] for name in data if name not in self.fields}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if unknown and isinstance(error.detail, dict):
                raise serializers.ValidationError({**error.detail, **unknown}) from error
            raise
        if unknown:
            raise serializers.ValidationError(unknown)
        return values


class TextField(serializers.CharField):
    """Text, and only text: a number is not silently turned into one."""

    def to_internal_value(self, data: Any) -> str:
        """Refuse what is not a JSON string."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class PatternField(serializers.RegexField):
    """Text of a form, and only text; nothing is trimmed."""

    def __init__(self, pattern: str, **options: Any) -> None:
        super().__init__(pattern, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        """Refuse what is not a JSON string; $ would let a line end pass."""
        if not isinstance(data, str) or "\n" in data:
            self.fail("invalid")
        return str(super().to_internal_value(data))


class IntegerField(serializers.IntegerField):
    """A JSON integer, and only that: neither 1.0 nor "1" nor true."""

    def to_internal_value(self, data: Any) -> int:
        """Refuse what is not a JSON integer."""
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return int(data)


class WordField(serializers.ChoiceField):
    """One word out of a list; the refusal names the list, so that a caller sees what works."""

    default_error_messages = {"invalid_choice": _("Must be one of: {choices}.")}

    def to_internal_value(self, data: Any) -> str:
        """Refuse anything but one of the words, in exactly their spelling."""
        if not isinstance(data, str) or data not in self.choices:
            self.fail("invalid_choice", choices=", ".join(str(choice) for choice in self.choices))
        return data
