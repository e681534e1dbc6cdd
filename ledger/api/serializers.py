"""Wire shapes of the account statement."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from exchange.api.pagination import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from exchange.api.requests import StrictSerializer, TextField, WordField
from exchange.api.serializers import DecimalStringField

ASSET_LENGTH_MAX = 16
MOMENT_LENGTH_MAX = 40
DATE_LENGTH = len("2026-03-31")
YEAR_MIN, YEAR_MAX = 2000, 9000
INSTANT = timedelta(microseconds=1)
MOMENT = {
    "oneOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}],
}


@extend_schema_field(MOMENT)
class DayOrMomentField(serializers.Field[Any, Any, Any, Any]):
    """A day in UTC, or a moment with its zone."""

    default_error_messages = {
        "invalid": _("Must be a date such as 2026-03-31, or a moment such as 2026-03-31T12:00:00Z."),
    }

    def __init__(self, *, is_end: bool, **options: Any) -> None:
        self.is_end = is_end
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> datetime:
        """Return the moment; a day stands for its begin, or where a period ends for the last of it."""
        if not isinstance(data, str) or len(data) > MOMENT_LENGTH_MAX:
            self.fail("invalid")
        try:
            day = parse_date(data) if len(data) == DATE_LENGTH else None
            moment = parse_datetime(data) if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None or not YEAR_MIN <= moment.year <= YEAR_MAX:
            self.fail("invalid")
        is_day = len(data) == DATE_LENGTH and self.is_end
        return (moment + timedelta(days=1) - INSTANT if is_day else moment).astimezone(UTC)

    def to_representation(self, value: Any) -> Any:
        """Leave it to the renderer."""
        return value


class StatementQuery(StrictSerializer):
    """Of what the statement is, and which page of it."""

    asset = TextField(required=False, max_length=ASSET_LENGTH_MAX, help_text="All assets when none is named.")
    to = DayOrMomentField(is_end=True, required=False, help_text="The end of the period, included; now if left out.")
    holds = WordField(
        choices=["true", "false"],
        required=False,
        default="false",
        help_text="Movements between your own wallets too: the holds of orders and withdrawals.",
    )
    cursor = TextField(required=False, max_length=64, help_text="next_cursor of the page before.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=PAGE_SIZE_MAX, default=PAGE_SIZE_DEFAULT)

    def get_fields(self) -> dict[str, Any]:
        """Add what Python has no name for."""
        start = DayOrMomentField(
            is_end=False, required=False, help_text="The begin of the period, included; the first entry if left out."
        )
        return {"from": start, **super().get_fields()}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a period that ends before it begins."""
        if "from" in attrs and "to" in attrs and attrs["to"] < attrs["from"]:
            raise serializers.ValidationError({"to": [_("The period ends before it begins.")]})
        return attrs


class FundsResponse(serializers.Serializer[Any]):
    """Your funds in one asset."""

    asset = serializers.CharField()
    balance = DecimalStringField(help_text="All of it, less what is owed.")
    available = DecimalStringField()
    frozen = DecimalStringField(help_text="In orders and withdrawals.")
    margin = DecimalStringField()
    debt = DecimalStringField(help_text="What is owed; not negative.")


class MovementResponse(serializers.Serializer[Any]):
    """What one entry did to your funds in one asset."""

    entry_id = serializers.IntegerField()
    kind = serializers.CharField(help_text="What happened: deposit, spot_fill, withdrawal_settle and others.")
    reference = serializers.CharField(help_text="Names the cause: trade:7, order:5:freeze, a deposit's own reference.")
    counted_from = serializers.DateTimeField(help_text="When it was recorded; of a late entry, when it had happened.")
    recorded_at = serializers.DateTimeField()
    late = serializers.BooleanField(help_text="Recorded over a minute after it happened.")
    change = DecimalStringField(help_text="Of the balance; zero for a hold.")
    after = FundsResponse()


class StatementResponse(serializers.Serializer[Any]):
    """A page of your account statement, oldest first.

    The opening funds and all movements add up to the closing funds, asset by asset.
    """

    opening = FundsResponse(many=True, help_text="Before the first movement of this page.")
    items = MovementResponse(many=True)
    closing = FundsResponse(many=True, help_text="At the end of the period, whatever the page.")
    next_cursor = serializers.CharField(
        allow_null=True, help_text="null on the last page. A page may be short, or empty, and yet not the last."
    )
