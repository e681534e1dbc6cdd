"""Shapes on the wire that belong to no single app, and the fields that others build on."""

import re
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

INTEGER_DIGITS_MAX = 20
DECIMALS_MAX = 18
AMOUNT_PATTERN = rf"^[0-9]{{1,{INTEGER_DIGITS_MAX}}}(\.[0-9]{{1,{DECIMALS_MAX}}})?$"
_AMOUNT = re.compile(AMOUNT_PATTERN[1:-1])
MINOR_UNITS_MAX = 10**18


def is_amount(data: Any) -> bool:
    """Tell whether `AmountField` takes this, and takes it as it is."""
    if type(data) is str:
        return _AMOUNT.fullmatch(data) is not None and bool(Decimal(data))
    return type(data) is int and 0 < data <= MINOR_UNITS_MAX


DECIMAL_STRING = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
AMOUNT_SCHEMA = {
    "oneOf": [
        {"type": "string", "pattern": AMOUNT_PATTERN, "description": "Major units, above zero."},
        {
            "type": "integer",
            "minimum": 1,
            "maximum": MINOR_UNITS_MAX,
            "description": "Minor units; only for instruments that quote in them.",
        },
    ]
}


@extend_schema_field(AMOUNT_SCHEMA)
class AmountField(serializers.Field[Any, Any, Any, Any]):
    """A price or quantity above zero as it was sent: a decimal string, or an integer of minor units.

    Which of the two an instrument takes is known once its symbol is; the serializer settles it then.
    """

    default_error_messages = {
        "form": _('Must be a decimal string such as "0.001": no sign, no exponent, at most 18 decimals.'),
        "number": _("A JSON number with a fraction is not exact; send a decimal string."),
        "positive": _("Must be above zero."),
        "large": _("Too large."),
    }

    def to_internal_value(self, data: Any) -> int | str:
        """Check the form, exactly; nothing is rounded or guessed."""
        if isinstance(data, bool) or not isinstance(data, int | str | float):
            self.fail("form")
        if isinstance(data, float):
            self.fail("number")
        if isinstance(data, int):
            if data <= 0:
                self.fail("positive")
            if data > MINOR_UNITS_MAX:
                self.fail("large")
            return data
        if data.startswith("-") and _AMOUNT.fullmatch(data[1:]):
            self.fail("positive")
        if not _AMOUNT.fullmatch(data):
            self.fail("form")
        if not Decimal(data):
            self.fail("positive")
        return data

    def to_representation(self, value: Any) -> Any:
        """Write what the unit rules of the instrument have made of it."""
        return value


@extend_schema_field({"type": "string", "pattern": AMOUNT_PATTERN, "description": "Above zero."})
class DecimalAmountField(AmountField):
    """An amount of an asset above zero: a decimal string, and only that."""

    def to_internal_value(self, data: Any) -> Decimal:  # type: ignore[override]  # a field may read another type
        """Check the form; a JSON number is refused."""
        if not isinstance(data, str):
            self.fail("form")
        return Decimal(super().to_internal_value(data))


@extend_schema_field(DECIMAL_STRING)
class DecimalStringField(serializers.Field[Any, Any, Any, Any]):
    """An amount of an asset in an answer: a decimal string, without exponent."""

    def to_representation(self, value: Any) -> Any:
        """Leave it to the renderer, which writes every Decimal the same way."""
        return value


@extend_schema_field({"oneOf": [DECIMAL_STRING, {"type": "integer"}]})
class WireNumberField(serializers.Field[Any, Any, Any, Any]):
    """A price or quantity in an answer: decimal string, or integer for an instrument in minor units."""

    def to_representation(self, value: Any) -> Any:
        """Pass on what the instrument's unit rules made."""
        return value


class ErrorTableRow(serializers.Serializer[Any]):
    """One refusal of the published table."""

    code = serializers.IntegerField()
    error = serializers.CharField()
    status = serializers.IntegerField(help_text="HTTP status it comes with.")
    message = serializers.CharField(help_text="Its words; names in braces are fields of data.")
    meaning = serializers.CharField()
