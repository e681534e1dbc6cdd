"""Wire shapes of what a trader holds, and of what a trader may ask of a position in a contract."""

import hashlib
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework import serializers

from exchange.api.pagination import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from exchange.api.requests import IntegerField, StrictSerializer, TextField, WordField
from exchange.api.serializers import DecimalAmountField, DecimalStringField, WireNumberField
from exchange.kernel.money import plain
from exchange.observability.tracing import current_trace
from marketdata import selectors as instruments
from marketdata.models import InstrumentKind
from marketdata.units import InstrumentSpec
from trading.fields import ClientOrderIdField
from trading.margin_models import MarginDirection, MarginRequest, MarginState
from trading.models import OrderType, PositionStep, TimeInForce
from trading.position_selectors import ContractPosition
from trading.position_state import Change
from trading.selectors import SpotPosition
from trading.services.position_changes import MarginChange
from trading.services.requests import OfPosition, PlaceOrder
from trading.wire import moment, position_fields

LEVERAGE_ASKED_MAX = 1000


class LeverageRequest(StrictSerializer):
    """Another leverage."""

    leverage = IntegerField(
        min_value=1,
        max_value=LEVERAGE_ASKED_MAX,
        help_text="Lower: what the position then lacks of its initial margin is drawn from available. Higher: releases"
        " nothing by itself.",
    )


class MarginChangeRequest(StrictSerializer):
    """More margin, or less."""

    amount = DecimalAmountField(help_text="In the contract's quote asset.")
    direction = WordField(choices=MarginDirection.choices)
    client_margin_id = ClientOrderIdField(
        required=False, help_text="Your own id. A retry with the same body returns the first request (200)."
    )

    def change(self, symbol: str) -> MarginChange:
        """Return the validated request as the services take it."""
        return MarginChange(symbol=symbol, **self.validated_data)


class PositionOrderRequest(StrictSerializer):
    """A market order whose side and size follow from the position."""

    client_order_id = ClientOrderIdField(
        required=False, help_text="Your own id. A retry returns the first order (200 instead of 201)."
    )

    def order(self, symbol: str, what: OfPosition) -> PlaceOrder:
        """Return the order; a retry is one that asks the same of the same contract."""
        spec = instruments.instrument(symbol)
        return PlaceOrder(
            symbol=spec.symbol,
            side="",
            type=str(OrderType.MARKET),
            time_in_force=str(TimeInForce.IOC),
            of_position=what,
            client_order_id=self.validated_data.get("client_order_id"),
            body_hash=hashlib.sha256(f"{what}:{spec.symbol}".encode()).digest(),
            trace=current_trace(),
        )


class PositionPageQuery(StrictSerializer):
    """Which page."""

    cursor = TextField(required=False, max_length=64, help_text="next_cursor of the page before.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=PAGE_SIZE_MAX, default=PAGE_SIZE_DEFAULT)


class HoldingResponse(serializers.Serializer[Any]):
    """What a user holds of an instrument's base asset, and what it has cost."""

    symbol = serializers.CharField()
    kind = serializers.ChoiceField(choices=[str(InstrumentKind.SPOT)])
    quantity = WireNumberField()
    available_quantity = WireNumberField()
    frozen_quantity = WireNumberField()
    avg_price = WireNumberField(allow_null=True, help_text="null when nothing was bought here.")
    total_cost = WireNumberField()


class PositionResponse(serializers.Serializer[Any]):
    """A position in a contract. What depends on the mark price is null where there is none."""

    symbol = serializers.CharField()
    kind = serializers.ChoiceField(choices=[str(InstrumentKind.PERPETUAL)])
    quantity = WireNumberField(help_text="Negative when short.")
    entry_price = WireNumberField(allow_null=True)
    mark_price = WireNumberField(allow_null=True)
    margin = DecimalStringField()
    margin_missing = DecimalStringField(help_text="What its opening could not fund.")
    leverage = serializers.IntegerField()
    unrealized_pnl = DecimalStringField(allow_null=True)
    realized_pnl = DecimalStringField()
    margin_ratio = DecimalStringField(
        allow_null=True, help_text="Maintenance margin by margin and unrealised result; at 1 it is liquidated."
    )
    roe = DecimalStringField(allow_null=True, help_text="Unrealised result by margin.")
    liquidation_price = WireNumberField(allow_null=True)
    reserved_quantity = WireNumberField(help_text="What open orders are to close.")
    is_locked = serializers.BooleanField(help_text="It is being liquidated.")
    version = serializers.IntegerField(help_text="Steps of its history.")


HOLDINGS = PolymorphicProxySerializer(
    component_name="Holding",
    serializers={str(InstrumentKind.SPOT): HoldingResponse, str(InstrumentKind.PERPETUAL): PositionResponse},
    resource_type_field_name="kind",
    many=True,
)
"""Spot holdings and positions in contracts, told apart by `kind`."""


class PositionStepResponse(serializers.Serializer[Any]):
    """One step of a position's history: what it added to each of the position's numbers."""

    version = serializers.IntegerField(help_text="Dense for each position, from 1.")
    change = serializers.ChoiceField(choices=[(str(word), str(word)) for word in Change])
    quantity = WireNumberField()
    open_cost = DecimalStringField()
    margin = DecimalStringField()
    realized_pnl = DecimalStringField()
    fee = DecimalStringField()
    leverage = serializers.IntegerField(help_text="After the step.")
    trade_id = serializers.IntegerField(allow_null=True)
    order_id = serializers.IntegerField(allow_null=True)
    price = WireNumberField(allow_null=True)
    happened_at = serializers.DateTimeField()


class PositionHistoryResponse(serializers.Serializer[Any]):
    """A page of a position's history, newest first."""

    items = PositionStepResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="null on the last page.")


class MarginRequestResponse(serializers.Serializer[Any]):
    """A change of a position's margin, and where it stands."""

    request_id = serializers.IntegerField()
    symbol = serializers.CharField()
    direction = serializers.ChoiceField(choices=MarginDirection.choices)
    amount = DecimalStringField()
    asset = serializers.CharField()
    state = serializers.ChoiceField(
        choices=MarginState.choices,
        help_text="What is taken out waits until the books have caught up with the orders of the moment of request.",
    )
    reason = serializers.CharField(help_text="The name of the refusal, where it was refused then; else empty.")
    client_margin_id = serializers.CharField(allow_null=True)
    requested_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class MarginPageResponse(serializers.Serializer[Any]):
    """A page of changes of margin, newest first."""

    items = MarginRequestResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="null on the last page.")


def holding_shape(item: SpotPosition) -> dict[str, Any]:
    """Return a spot holding in the units of its instrument."""
    spec = item.spec
    return {
        "symbol": spec.symbol,
        "kind": spec.kind,
        "quantity": spec.wire_qty(item.quantity),
        "available_quantity": spec.wire_qty(item.available),
        "frozen_quantity": spec.wire_qty(item.frozen),
        "avg_price": None if item.average_price is None else spec.wire_average(item.average_price),
        "total_cost": spec.wire_average(item.total_cost),
    }


def position_shape(item: ContractPosition) -> dict[str, Any]:
    """Return a position in a contract as every road shows it."""
    return position_fields(item.state, item.mark_ticks)


def step_shape(step: PositionStep, spec: InstrumentSpec) -> dict[str, Any]:
    """Return one step of a position's history."""
    return {
        "version": step.version,
        "change": step.change,
        "quantity": spec.wire_qty(step.quantity),
        "open_cost": plain(step.open_cost),
        "margin": plain(step.margin),
        "realized_pnl": plain(step.result),
        "fee": plain(step.fee),
        "leverage": step.leverage,
        "trade_id": step.trade_id,
        "order_id": step.order_id,
        "price": None if step.price is None else spec.wire_price(step.price),
        "happened_at": moment(step.happened_at),
    }


def margin_shape(request: MarginRequest) -> dict[str, Any]:
    """Return a change of margin."""
    spec = instruments.instrument_by_id(request.instrument_id)
    return {
        "request_id": request.id,
        "symbol": request.symbol,
        "direction": request.direction,
        "amount": plain(request.amount),
        "asset": spec.quote,
        "state": request.state,
        "reason": request.reason,
        "client_margin_id": request.client_margin_id,
        "requested_at": moment(request.requested_at),
        "ended_at": moment(request.ended_at),
    }
