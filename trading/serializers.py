"""Wire shapes of orders, accounts and holdings: the rules that validate are the ones that are published."""

import threading
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema_field
from rest_framework import serializers

from exchange.api.pagination import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from exchange.api.requests import StrictSerializer, TextField, WordField
from exchange.api.serializers import AmountField, DecimalStringField, WireNumberField
from trading import plain_orders, reasons
from trading.fields import (
    SYMBOL_LENGTH_MAX,
    ClientOrderIdField,
    FlagField,
    MomentField,
    RateField,
    SupportedWordField,
    UnsupportedOrderTypeError,
    UnsupportedTimeInForceError,
)
from trading.models import Intent, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce, TriggerBy
from trading.services.requests import PlaceOrder

BATCH_ORDERS_MAX = 50


class OrderRequest(StrictSerializer):
    """A new order."""

    symbol = TextField(max_length=SYMBOL_LENGTH_MAX, trim_whitespace=False)
    side = WordField(choices=Side.choices)
    type = SupportedWordField(UnsupportedOrderTypeError, choices=OrderType.choices)
    quantity = AmountField(
        required=False,
        help_text="A whole number of lots. Every order takes one, but a market buy by quote_quantity and an order with"
        " close_position.",
    )
    quote_quantity = AmountField(
        required=False,
        help_text="Instead of a quantity, for market buys: all that the order may cost, its fee included, in the quote"
        " asset, in the form of a price. It buys whole lots until the rest buys none, and gives the rest back.",
    )
    price = AmountField(
        required=False, help_text="A whole number of ticks. For the types with limit in their name, and only for them."
    )
    stop_price = AmountField(
        required=False,
        help_text="The price at which a stop or take-profit order wakes: a buy's stop and a sell's take-profit at"
        " or above, the others at or below. One already through wakes at once.",
    )
    trigger_by = WordField(
        choices=TriggerBy.choices,
        required=False,
        help_text="The price that a stop, take-profit or trailing stop order watches: the last trade unless given, or"
        " the mark price where there is one.",
    )
    time_in_force = SupportedWordField(
        UnsupportedTimeInForceError,
        choices=TimeInForce.choices,
        required=False,
        help_text="Without it gtc, or ioc for types that take the market's price. fok trades whole or not at all. Of a"
        " stop, take-profit or trailing stop that takes the market's price, gtd and day end the waiting.",
    )
    expires_at = MomentField(required=False, help_text="When a gtd order ends. A day order ends with the UTC day.")
    post_only = FlagField(required=False, help_text="Reject the order rather than let it trade on arrival.")
    display_quantity = AmountField(required=False, help_text="The part of an iceberg that the book shows.")
    callback_rate = RateField(
        required=False, help_text='How far a trailing stop keeps behind the best price; "0.01" is one percent.'
    )
    activation_price = AmountField(required=False, help_text="From where a trailing stop follows; at once without it.")
    reduce_only = FlagField(required=False, help_text="Contracts only: never open or enlarge a position.")
    close_position = FlagField(required=False, help_text="Contracts only: close the position, whatever it is then.")
    self_trade_prevention = WordField(
        choices=SelfTradePrevention.choices,
        required=False,
        help_text="What is done when the order meets one of your own on arrival: none unless given.",
    )
    client_order_id = ClientOrderIdField(
        required=False,
        help_text="Your own id. A retry with the same body returns the first order (200 instead of 201).",
    )

    def to_internal_value(self, data: Any) -> Any:
        """Demand a quantity unless the order says its size by other words."""
        if isinstance(data, Mapping):
            self.fields["quantity"].required = "quote_quantity" not in data and data.get("close_position") is not True
        return super().to_internal_value(data)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Read the numbers as the instrument writes them.

        Raises:
            DomainError: There is no such instrument, or a number is not in its form or range.
        """
        return plain_orders.with_numbers(attrs)

    @classmethod
    def read(cls, data: Any) -> PlaceOrder:
        """Validate what a client sent as a new order, and return it as the services take it.

        Most are plain: Note [Plain orders]. The form for the others is made once for each thread: to copy its fields,
        as every new one does, takes three times as long as to validate an order by them.

        Raises:
            ValidationError, DomainError: What is wrong with it.
        """
        plain = plain_orders.read(data)
        if plain is not None:
            return plain
        form: OrderRequest | None = getattr(_forms, "order", None)
        if form is None:
            form = _forms.order = cls()
        form.initial_data = data
        for outcome in ("_validated_data", "_errors"):  # of the order before
            form.__dict__.pop(outcome, None)
        form.is_valid(raise_exception=True)
        return plain_orders.order(form.validated_data)


_forms = threading.local()

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
        "A market order by amount: spend 100 USDT, fee included",
        value={"symbol": "BTCUSDT", "side": "buy", "type": "market", "quote_quantity": "100"},
        request_only=True,
    ),
    OpenApiExample(
        "A stop that watches the mark price",
        value={
            "symbol": "BTCUSDT",
            "side": "sell",
            "type": "stop",
            "quantity": "0.001",
            "stop_price": "55000",
            "trigger_by": "mark",
        },
        request_only=True,
    ),
    OpenApiExample(
        "A stop that closes a long position in a contract, whatever it is then",
        value={
            "symbol": "BTC-PERP",
            "side": "sell",
            "type": "stop",
            "stop_price": "55000",
            "trigger_by": "mark",
            "close_position": True,
        },
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

    @classmethod
    def read(cls, data: Any) -> list[Any]:
        """Return the orders of a batch as they were sent.

        A list of allowed length and nothing else is what the form would return; it is made for what is not that.

        Raises:
            ValidationError: It is no batch.
        """
        if type(data) is dict and len(data) == 1:
            orders = data.get("orders")
            if type(orders) is list and 0 < len(orders) <= BATCH_ORDERS_MAX:
                return orders
        form = cls(data=data)
        form.is_valid(raise_exception=True)
        return list(form.validated_data["orders"])


class AmendRequest(StrictSerializer):
    """A new price, a new total quantity, a new stop price, or several of them."""

    price = AmountField(required=False, help_text="A whole number of ticks. For the types with limit in their name.")
    quantity = AmountField(required=False, help_text="The new total; what has filled counts against it.")
    stop_price = AmountField(
        required=False, help_text="For stop and take-profit orders that still wait; one then already through wakes."
    )


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
    quantity = WireNumberField(
        allow_null=True, help_text="null where quote_quantity, or with close_position the position, is the size."
    )
    quote_quantity = WireNumberField(
        allow_null=True, help_text="All that the order may cost, its fee included; null where quantity is its size."
    )
    price = WireNumberField(allow_null=True, help_text="null where the order takes the market's price.")
    stop_price = WireNumberField(allow_null=True)
    trigger_by = serializers.ChoiceField(
        choices=TriggerBy.choices, allow_null=True, help_text="null where the order waits for no price."
    )
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
    reduce_only = serializers.BooleanField()
    close_position = serializers.BooleanField()
    leverage = serializers.IntegerField(allow_null=True, help_text="With which it opens; null on spot markets.")
    intent = serializers.ChoiceField(
        choices=Intent.choices, allow_null=True, help_text="Of a contract order, as it was placed; else null."
    )
    reduce_quantity = WireNumberField(allow_null=True, help_text="The part that was to close a position; it reserved.")
    increase_quantity = WireNumberField(allow_null=True, help_text="The part that was to open; it holds funds.")
    status = serializers.ChoiceField(choices=OrderStatus.choices)
    reason = serializers.CharField(
        help_text=f"Why it was rejected or ended early; empty otherwise. {reasons.listed(reasons.ENDED)}."
        f" Of rejected orders: {reasons.listed(reasons.REJECTED)}."
    )
    amend_refusal = serializers.CharField(
        help_text=f"Why the engine refused the last amend; empty otherwise. {reasons.listed(reasons.NOT_AMENDED)}."
    )
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
