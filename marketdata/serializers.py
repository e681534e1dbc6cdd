"""Wire shapes of public market data."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from exchange.api.requests import StrictSerializer, WordField
from exchange.api.serializers import DecimalStringField, WireNumberField
from exchange.kernel.money import from_quanta
from marketdata import feed, states
from marketdata.selectors import KLINES_MAX
from marketdata.units import RATE_DECIMALS, InstrumentSpec

DEPTH_DEFAULT = 50
MS_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999."""
DEPTH_MAX = 1000
KLINES_DEFAULT = 500


class DepthQuery(StrictSerializer):
    """How much of the book."""

    limit = serializers.IntegerField(
        required=False, min_value=1, max_value=DEPTH_MAX, default=DEPTH_DEFAULT, help_text="Levels a side."
    )


class KlineQuery(StrictSerializer):
    """Which candles."""

    interval = WordField(choices=[(word, word) for word in feed.INTERVALS], required=False, default="1m")
    limit = serializers.IntegerField(
        required=False, min_value=1, max_value=KLINES_MAX, default=KLINES_DEFAULT, help_text="The latest so many."
    )
    before = serializers.IntegerField(
        required=False, min_value=1, max_value=MS_MAX, help_text=_("Only candles that begin before this, in ms.")
    )


class StateField(serializers.ChoiceField):
    """What an instrument allows."""

    def __init__(self, **options: Any) -> None:
        words = "pre_open and auction: orders rest and nothing trades; halted, cancel_only, closed: no new orders."
        super().__init__(choices=[(word, word) for word in states.WORDS], help_text=words, **options)


class BracketResponse(serializers.Serializer[Any]):
    """What a contract asks of positions that are worth so much or more, in the quote asset."""

    notional_floor = DecimalStringField()
    leverage_max = serializers.IntegerField(help_text="The highest leverage of a position that reaches into it.")
    maintenance_rate = DecimalStringField()
    maintenance_amount = DecimalStringField(help_text="Maintenance margin is value x rate - amount.")


class InstrumentResponse(serializers.Serializer[Any]):
    """What is traded, and under which rules."""

    symbol = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.CharField()
    base = serializers.CharField()
    quote = serializers.CharField()
    status = serializers.CharField()
    state = StateField()
    tick_size = DecimalStringField(help_text="Major units.")
    lot_size = DecimalStringField()
    min_notional = DecimalStringField()
    band_rate = DecimalStringField(help_text="How far a limit price may be from the last trade.")
    market_slippage_rate = DecimalStringField(help_text="How far a market order may trade from it.")
    maker_fee_rate = DecimalStringField()
    taker_fee_rate = DecimalStringField()
    reference_price = DecimalStringField(help_text="Stands for the last trade before there is one.")
    base_decimals = serializers.IntegerField()
    quote_decimals = serializers.IntegerField()
    minor_unit_decimals = serializers.IntegerField(
        allow_null=True,
        help_text="Where set, prices are JSON integers of 10^-n and quantities JSON integers.",
    )
    is_demo = serializers.BooleanField()
    contract_size = DecimalStringField(help_text="What one unit of quantity is, times the price; 1 on spot markets.")
    leverage_max = serializers.IntegerField(allow_null=True, help_text="Of a contract's smallest positions; else null.")
    brackets = serializers.SerializerMethodField(help_text="Of a contract, by value; empty on spot markets.")

    @extend_schema_field(BracketResponse(many=True))
    def get_brackets(self, spec: InstrumentSpec) -> list[dict[str, Any]]:
        """Return the brackets in units of the quote asset."""
        decimals = spec.quote_decimals
        return [
            {
                "notional_floor": from_quanta(bracket.notional_floor, decimals),
                "leverage_max": bracket.leverage_max,
                "maintenance_rate": from_quanta(bracket.maintenance_rate, RATE_DECIMALS),
                "maintenance_amount": from_quanta(bracket.maintenance_amount, decimals),
            }
            for bracket in spec.brackets
        ]


class DepthResponse(serializers.Serializer[Any]):
    """The best levels of a book, best first."""

    symbol = serializers.CharField()
    bids = serializers.ListField(child=serializers.ListField(child=WireNumberField(), min_length=2, max_length=2))
    asks = serializers.ListField(child=serializers.ListField(child=WireNumberField(), min_length=2, max_length=2))
    timestamp = serializers.IntegerField(help_text="Milliseconds.")
    sequence = serializers.IntegerField(help_text="The last command in it; deltas continue from here.")


class KlineResponse(serializers.Serializer[Any]):
    """One candle."""

    timestamp = serializers.IntegerField(help_text="First millisecond.")
    open = WireNumberField()
    high = WireNumberField()
    low = WireNumberField()
    close = WireNumberField()
    volume = WireNumberField(help_text="In the base asset.")
    turnover = WireNumberField(help_text="In the quote asset.")
    trade_count = serializers.IntegerField()


class TickerResponse(serializers.Serializer[Any]):
    """The last 24 hours of an instrument, and its best prices."""

    symbol = serializers.CharField()
    state = StateField()
    last_price = WireNumberField(allow_null=True)
    mark_price = WireNumberField(
        allow_null=True, help_text="What orders with trigger_by mark watch; null where none is known."
    )
    marked_at = serializers.DateTimeField(allow_null=True, help_text="Since when.")
    best_bid = WireNumberField(allow_null=True)
    best_ask = WireNumberField(allow_null=True)
    open_24h = WireNumberField(allow_null=True)
    high_24h = WireNumberField(allow_null=True)
    low_24h = WireNumberField(allow_null=True)
    volume_24h = WireNumberField()
    turnover_24h = WireNumberField()
    change_24h = WireNumberField()
    change_rate_24h = DecimalStringField()
    trade_count_24h = serializers.IntegerField()
    timestamp = serializers.IntegerField(help_text="Milliseconds.")
    sequence = serializers.IntegerField()


class AuctionResponse(serializers.Serializer[Any]):
    """What an instrument allows, and what its auction would do now."""

    symbol = serializers.CharField()
    state = StateField()
    price = WireNumberField(
        allow_null=True, help_text="At which the auction would trade now. null while nothing would, or without auction."
    )
    quantity = WireNumberField(help_text="How much would trade.")
    imbalance = WireNumberField(help_text="Demand less supply at the price.")
    timestamp = serializers.IntegerField(help_text="Milliseconds.")
    sequence = serializers.IntegerField(help_text="The last command in it.")


class TimeResponse(serializers.Serializer[Any]):
    """The exchange's clock."""

    time = serializers.DateTimeField()
    timestamp = serializers.IntegerField(help_text="Milliseconds.")
