"""Fields of requests about orders: each refuses what is not of its form, and never guesses."""

from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from exchange.api.requests import PatternField, WordField
from exchange.api.serializers import AmountField
from exchange.kernel.errors import DomainError, gettext_noop

SYMBOL_LENGTH_MAX = 24
CLIENT_ORDER_ID_PATTERN = r"^[A-Za-z0-9_.:-]{1,64}$"


class UnsupportedOrderTypeError(DomainError):
    """The exchange does not take orders of this type; `data.supported` lists those that it takes."""

    code = 3020
    name = "UNSUPPORTED_ORDER_TYPE"
    message = gettext_noop("Order type %(value)s is not supported; use one of: %(words)s.")


class UnsupportedTimeInForceError(DomainError):
    """The exchange does not take this time in force; `data.supported` lists those that it takes."""

    code = 3021
    name = "UNSUPPORTED_TIME_IN_FORCE"
    message = gettext_noop("Time in force %(value)s is not supported; use one of: %(words)s.")


class SupportedWordField(WordField):
    """A word of which the exchange takes only some; the others have a refusal of their own."""

    def __init__(self, refusal: type[DomainError], **options: Any) -> None:
        self.refusal = refusal
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> str:
        """Refuse other words with the list of those that work."""
        if isinstance(data, str) and data not in self.choices:
            supported = [str(word) for word in self.choices]
            raise self.refusal(
                field=self.field_name, value=data[:SYMBOL_LENGTH_MAX], supported=supported, words=", ".join(supported)
            )
        return super().to_internal_value(data)


class ClientOrderIdField(PatternField):
    """The client's own name of an order, which makes a retry safe."""

    default_error_messages = {"invalid": _("Use 1 to 64 letters, digits and . _ : -")}

    def __init__(self, **options: Any) -> None:
        super().__init__(CLIENT_ORDER_ID_PATTERN, **options)


class FlagField(serializers.BooleanField):
    """true or false, and only these."""

    def to_internal_value(self, data: Any) -> bool:
        """Refuse what is not a JSON boolean."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class RateField(AmountField):
    """A part of one, as a decimal string."""

    def to_internal_value(self, data: Any) -> str:
        """Refuse JSON numbers: a rate is no price."""
        if not isinstance(data, str):
            self.fail("form")
        return str(super().to_internal_value(data))


class MomentField(serializers.DateTimeField):
    """A moment as RFC 3339 with its zone; without one nobody knows when it is."""

    default_error_messages = {"zone": _("Must end with Z or an offset such as +08:00.")}

    def enforce_timezone(self, value: datetime) -> datetime:
        """Refuse a moment without a zone instead of guessing one."""
        if value.tzinfo is None:
            self.fail("zone")
        return value.astimezone(UTC)

    def to_internal_value(self, value: Any) -> datetime:
        """Refuse what is not a JSON string."""
        if not isinstance(value, str):
            self.fail("invalid", format="2025-05-18T10:30:00Z")
        return super().to_internal_value(value)
