"""Wire shapes of orders, accounts and holdings: the rules that validate are the ones that are published."""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema_field
from rest_framework import serializers

from exchange.api.pagination import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from exchange.api.requests import PatternField, StrictSerializer, TextField, WordField
from exchange.api.serializers import AmountField, DecimalStringField, WireNumberField
from exchange.kernel.errors import DomainError, gettext_noop
from exchange.kernel.money import plain
from exchange.observability.tracing import current_trace
from marketdata import selectors as instruments
from trading.models import OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce
from trading.services import terms
from trading.services.requests import PlaceOrder

BATCH_ORDERS_MAX = 50
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


class OrderRequest(StrictSerializer):
    """A new order."""

    symbol = TextField(max_length=SYMBOL_LENGTH_MAX, trim_whitespace=False)
    side = WordField(choices=Side.choices)
    type = SupportedWordField(UnsupportedOrderTypeError, choices=OrderType.choices)
    quantity = AmountField(help_text="A whole number of lots.")
    price = AmountField(
        required=False, help_text="A whole number of ticks. For the types with limit in their name, and only for them."
    )
    stop_price = AmountField(
        required=False,
        help_text="The last trade at which a stop or take-profit order wakes: a buy's stop and a sell's take-profit at"
        " or above, the others at or below. One already through wakes at once.",
    )
    time_in_force = SupportedWordField(
        UnsupportedTimeInForceError,
        choices=TimeInForce.choices,
        required=False,
        help_text="Without it gtc, or ioc for types that take the market's price. fok trades whole or not at all.",
    )
    expires_at = MomentField(required=False, help_text="When a gtd order ends. A day order ends with the UTC day.")
    post_only = FlagField(required=False, help_text="Reject the order rather than let it trade on arrival.")
    display_quantity = AmountField(required=False, help_text="The part of an iceberg that the book shows.")
    callback_rate = RateField(
        required=False, help_text='How far a trailing stop keeps behind the best price; "0.01" is one percent.'
    )
    activation_price = AmountField(required=False, help_text="From where a trailing stop follows; at once without it.")
    self_trade_prevention = WordField(
        choices=SelfTradePrevention.choices,
        required=False,
        help_text="What is done when the order meets one of your own on arrival: none unless given.",
    )
    client_order_id = ClientOrderIdField(
        required=False,
        help_text="Your own id. A retry with the same body returns the first order (200 instead of 201).",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Read the numbers as the instrument writes them.

        Raises:
            DomainError: There is no such instrument, a number is not in its form or range, or a
                price is missing or out of place.
        """
        spec = instruments.instrument(attrs["symbol"])
        values = {"time_in_force": str(terms.times_allowed(attrs["type"])[0]), **attrs}
        for name in ("quantity", "display_quantity"):
            if name in attrs:
                values[name] = spec.parse_qty(attrs[name])
                spec.qty_to_lots(values[name])
        if "callback_rate" in attrs:
            values["callback_rate"] = Decimal(attrs["callback_rate"])
        for name in ("price", "stop_price", "activation_price"):
            if name in attrs:
                values[name] = spec.parse_price(attrs[name])
                spec.price_to_ticks(values[name])
        return values

    def order(self) -> PlaceOrder:
        """Return the validated request as the services take it."""
        values = dict(self.validated_data)
        client_order_id = values.pop("client_order_id", None)
        canonical = {name: str(value) for name, value in sorted(values.items())}
        canonical |= {name: plain(value) for name, value in values.items() if isinstance(value, Decimal)}
        return PlaceOrder(
            **values,
            client_order_id=client_order_id,
            body_hash=hashlib.sha256(orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS)).digest(),
            trace=current_trace(),
        )


ORDER_EXAMPLES = [
    OpenApiExample(
        "A limit order",
        value={
            "symbol": "BTCUSDT",
            "side": "buy",
            "type": "limit",
            "quantity": "0.001",
            "price": "60000",
            "client_order_id": "my-first-order",
        },
        request_only=True,
    ),
    OpenApiExample(
        "A market order",
        value={"symbol": "BTCUSDT", "side": "sell", "type": "market", "quantity": "0.001"},
        request_only=True,
    ),
    OpenApiExample(
        "Shares in minor units: ten at NT$600.00",
        value={"symbol": "2330.TW", "side": "buy", "type": "limit", "quantity": 10, "price": 60000},
        request_only=True,
    ),
]


@extend_schema_field(OrderRequest(many=True))
class OrderRequestsField(serializers.ListField):
    """Orders, each validated on its own: a faulty one is its own result and stops no other."""


class OrderBatchRequest(StrictSerializer):
    """New orders, decided in the order in which they stand."""

    orders = OrderRequestsField(min_length=1, max_length=BATCH_ORDERS_MAX, allow_empty=False)


class AmendRequest(StrictSerializer):
    """A new price, a new total quantity, or both."""

    price = AmountField(required=False, help_text="A whole number of ticks.")
    quantity = AmountField(required=False, help_text="The new total; what has filled counts against it.")


class ReduceRequest(StrictSerializer):
    """Takes a quantity off what is still open of an order."""

    quantity = AmountField(help_text="What to take off. All that is open: the order is cancelled.")


class SymbolQuery(StrictSerializer):
    """Which instrument; all of them when none is named."""

    symbol = TextField(required=False, max_length=SYMBOL_LENGTH_MAX)


class OrderListQuery(SymbolQuery):
    """Which orders, and which page of them."""

    status = WordField(choices=[*OrderStatus.choices, ("open", _("May still trade"))], required=False)
    cursor = TextField(required=False, max_length=64, help_text="next_cursor of the page before.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=PAGE_SIZE_MAX, default=PAGE_SIZE_DEFAULT)


class OrderResponse(serializers.Serializer[Any]):
    """An order."""

    order_id = serializers.IntegerField()
    symbol = serializers.CharField()
    side = serializers.ChoiceField(choices=Side.choices)
    type = serializers.ChoiceField(choices=OrderType.choices)
    time_in_force = serializers.ChoiceField(choices=TimeInForce.choices)
    quantity = WireNumberField()
    price = WireNumberField(allow_null=True, help_text="null where the order takes the market's price.")
    stop_price = WireNumberField(allow_null=True)
    display_quantity = WireNumberField(allow_null=True)
    callback_rate = DecimalStringField(allow_null=True)
    activation_price = WireNumberField(allow_null=True)
    post_only = serializers.BooleanField()
    self_trade_prevention = serializers.ChoiceField(choices=SelfTradePrevention.choices)
    expires_at = serializers.DateTimeField(allow_null=True)
    filled_quantity = WireNumberField()
    avg_price = WireNumberField(allow_null=True, help_text="null before the first fill.")
    fee = DecimalStringField()
    fee_asset = serializers.CharField()
    status = serializers.ChoiceField(choices=OrderStatus.choices)
    reason = serializers.CharField(help_text="Why it was rejected or ended early; empty otherwise.")
    client_order_id = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    triggered_at = serializers.DateTimeField(allow_null=True, help_text="When a stop or take-profit order woke.")
    filled_at = serializers.DateTimeField(allow_null=True)
    cancelled_at = serializers.DateTimeField(allow_null=True)


class OrderTradeResponse(serializers.Serializer[Any]):
    """One fill of an order."""

    trade_id = serializers.IntegerField()
    price = WireNumberField()
    quantity = WireNumberField()
    executed_at = serializers.DateTimeField()
    fee = DecimalStringField()
    role = serializers.ChoiceField(choices=[("maker", "maker"), ("taker", "taker")])


class TradesQuery(StrictSerializer):
    """How many trades."""

    limit = serializers.IntegerField(
        required=False, min_value=1, max_value=PAGE_SIZE_MAX, default=PAGE_SIZE_DEFAULT, help_text="The latest so many."
    )


class TradeResponse(serializers.Serializer[Any]):
    """A trade, as everyone may see it."""

    trade_id = serializers.IntegerField()
    price = WireNumberField()
    quantity = WireNumberField()
    side = serializers.ChoiceField(choices=Side.choices, help_text="The taker's.")
    executed_at = serializers.DateTimeField()
    sequence = serializers.IntegerField(help_text="Dense for each instrument, from 1.")


class OrderDetailResponse(OrderResponse):
    """An order with its fills."""

    trades = OrderTradeResponse(many=True)


class OrderPageResponse(serializers.Serializer[Any]):
    """A page of orders, newest first."""

    items = OrderResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="null on the last page.")


class OrderResultResponse(serializers.Serializer[Any]):
    """What became of one order of a batch: an envelope of its own."""

    code = serializers.IntegerField(help_text="0, or the refusal's code.")
    message = serializers.CharField()
    data = serializers.DictField(help_text="The order, or the refusal's data.")  # type: ignore[assignment]


class FillPageQuery(StrictSerializer):
    """Which page of fills."""

    cursor = TextField(required=False, max_length=64, help_text="next_cursor of the page before.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=PAGE_SIZE_MAX, default=PAGE_SIZE_DEFAULT)


class FillResponse(OrderTradeResponse):
    """One fill of an order of yours."""

    order_id = serializers.IntegerField()
    symbol = serializers.CharField()
    side = serializers.ChoiceField(choices=Side.choices, help_text="Of your order.")
    fee_asset = serializers.CharField()


class FillPageResponse(serializers.Serializer[Any]):
    """A page of fills, newest first."""

    items = FillResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="null on the last page.")


class OrderBatchResponse(serializers.Serializer[Any]):
    """One result for each order, in the order in which they were sent."""

    results = OrderResultResponse(many=True)


class CancelResponse(serializers.Serializer[Any]):
    """A cancelled order."""

    order_id = serializers.IntegerField()
    status = serializers.ChoiceField(choices=OrderStatus.choices)
    cancelled_at = serializers.DateTimeField(allow_null=True)


class CancelAllResponse(serializers.Serializer[Any]):
    """How many cancels were asked for."""

    count = serializers.IntegerField()


class BalanceResponse(serializers.Serializer[Any]):
    """What a user has of one asset."""

    asset = serializers.CharField()
    balance = DecimalStringField(help_text="Available.")
    frozen_balance = DecimalStringField(help_text="Held for orders and withdrawals.")
    margin = DecimalStringField()
    net_balance = DecimalStringField(help_text="Everything owned less what is owed.")
    debt = DecimalStringField()
    debt_flagged = serializers.BooleanField()
    debt_due_at = serializers.DateTimeField(allow_null=True)


class AccountResponse(serializers.Serializer[Any]):
    """Balances of each asset, and the day's orders."""

    balances = BalanceResponse(many=True)
    daily_order_count = serializers.IntegerField()
    daily_order_limit = serializers.IntegerField()


class HoldingResponse(serializers.Serializer[Any]):
    """What a user holds of an instrument's base asset, and what it has cost."""

    symbol = serializers.CharField()
    quantity = WireNumberField()
    available_quantity = WireNumberField()
    frozen_quantity = WireNumberField()
    avg_price = WireNumberField(allow_null=True, help_text="null when nothing was bought here.")
    total_cost = WireNumberField()
