"""Wire shape of what an order would cost."""

from typing import Any

from rest_framework import serializers

from exchange.api.envelope import refusal_data, refusal_message
from exchange.api.serializers import DecimalStringField, WireNumberField
from exchange.kernel.errors import DomainError
from exchange.kernel.money import from_quanta, plain
from trading.models import Intent, OrderType, Side
from trading.position_serializers import PositionResponse
from trading.services.preview import Preview
from trading.wire import average_price, position_fields


class RefusalResponse(serializers.Serializer[Any]):
    """Why an order would be refused, as the order's own answer would say it."""

    code = serializers.IntegerField()
    message = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]


class PreviewResponse(serializers.Serializer[Any]):
    """What an order would cost, hold, reserve and risk. Only `refusal` says something where it would not be sized."""

    symbol = serializers.CharField()
    side = serializers.ChoiceField(choices=Side.choices, allow_null=True)
    type = serializers.ChoiceField(choices=OrderType.choices, allow_null=True)
    quantity = WireNumberField(allow_null=True)
    price = WireNumberField(
        allow_null=True,
        help_text="At which it is valued here: its limit or stop price; of a market order the average at which the book"
        " of this moment would fill it, rounded down, or the last trade where the book would fill nothing.",
    )
    reached_price = WireNumberField(
        allow_null=True, help_text="Of a market order: the worst level of the book that it would reach."
    )
    fillable_quantity = WireNumberField(
        allow_null=True,
        help_text="Of a market order: what the book has for it up to `worst_price`; the rest would be cancelled. An"
        " estimate: others may come first. null where the book is not known.",
    )
    worst_price = WireNumberField(allow_null=True, help_text="It never trades beyond it; its hold covers it.")
    cost = DecimalStringField(
        allow_null=True,
        help_text="Its value at `price`, in the quote asset; of a market order, of what the book would fill.",
    )
    maker_fee = DecimalStringField(allow_null=True, help_text="At `price`, if all of it rests first.")
    taker_fee = DecimalStringField(allow_null=True, help_text="At `price`, if all of it trades on arrival.")
    fee_asset = serializers.CharField()
    hold = DecimalStringField(allow_null=True, help_text="What it takes from available until it trades or ends.")
    hold_asset = serializers.CharField(allow_null=True)
    available = DecimalStringField(allow_null=True)
    needs_review = serializers.BooleanField(help_text="It would wait for a person.")
    intent = serializers.ChoiceField(choices=Intent.choices, allow_null=True, help_text="Of contract orders.")
    reduce_quantity = WireNumberField(
        allow_null=True, help_text="What it would close of the position, and reserves unless it only reduces."
    )
    increase_quantity = WireNumberField(allow_null=True, help_text="What it would open, and holds funds for.")
    leverage = serializers.IntegerField(allow_null=True)
    margin = DecimalStringField(allow_null=True, help_text="Initial margin of what it opens, at the worst price.")
    open_loss = DecimalStringField(allow_null=True, help_text="What that has lost at the mark in the same moment.")
    is_clamped = serializers.BooleanField(help_text="Its worst price was moved to the position's bankruptcy price.")
    liquidation_price = WireNumberField(
        allow_null=True, help_text="Of the position after it; null where there is none."
    )
    position = PositionResponse(allow_null=True, help_text="The position if the order filled at `price`.")
    refusal = RefusalResponse(allow_null=True, help_text="null: it would be taken.")


def preview_shape(found: Preview) -> dict[str, Any]:
    """Return a preview in the units of its instrument."""
    spec, order, sizing = found.spec, found.order, found.sizing

    def money(quanta: int) -> str | None:
        return None if order is None else plain(from_quanta(quanta, spec.quote_decimals))

    def lots(count: int | None) -> int | str | None:
        return None if count is None else spec.wire_lots(count)

    reached = found.taken[-1].ticks if found.taken else None
    fillable = None if found.taken is None else sum(level.lots for level in found.taken)
    position = None if found.after is None else position_fields(found.after, found.mark_ticks)
    return {
        "symbol": spec.symbol,
        "side": None if order is None else order.side,
        "type": None if order is None else order.type,
        "quantity": None if order is None or order.quantity is None else spec.wire_qty(order.quantity),
        "price": None if order is None else _price(found),
        "reached_price": None if reached is None else spec.wire_ticks(reached),
        "fillable_quantity": lots(fillable),
        "worst_price": None if order is None else spec.wire_price(order.worst_price),
        "cost": money(found.notional),
        "maker_fee": money(found.maker_fee),
        "taker_fee": money(found.taker_fee),
        "fee_asset": spec.quote,
        "hold": None if order is None else plain(found.hold),
        "hold_asset": None if order is None else order.hold_asset,
        "available": None if order is None else plain(found.available),
        "needs_review": found.needs_review,
        "intent": None if sizing is None else str(sizing.intent),
        "reduce_quantity": lots(None if sizing is None else sizing.reduce_lots),
        "increase_quantity": lots(None if sizing is None else sizing.increase_lots),
        "leverage": None if order is None else order.leverage,
        "margin": None if sizing is None else money(sizing.increase_margin),
        "open_loss": None if sizing is None else money(sizing.open_loss),
        "is_clamped": sizing is not None and sizing.is_clamped,
        "liquidation_price": None if position is None else position["liquidation_price"],
        "position": position,
        "refusal": None if found.refusal is None else _refusal(found.refusal),
    }


def _price(found: Preview) -> int | str | None:
    """Return the price at which an order is valued: what it would take on average, or the one that it names."""
    spec = found.spec
    if not found.taken:
        return spec.wire_ticks(found.price_ticks)
    quantity = spec.lots_to_qty(sum(level.lots for level in found.taken))
    return average_price(spec, from_quanta(found.notional, spec.quote_decimals), quantity)


def _refusal(error: DomainError) -> dict[str, Any]:
    """Return a refusal as the order's own answer would have it."""
    return {"code": error.code, "message": refusal_message(error), "data": refusal_data(error)}
