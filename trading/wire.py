"""How orders, fills and balances look to clients: one shape for REST and WebSocket, built from plain values."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from exchange.kernel.money import EXACT, plain
from marketdata.units import InstrumentSpec
from trading.models import Order


def moment(value: datetime | None) -> str | None:
    """Write a time as RFC 3339 UTC with six decimals."""
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def average_price(spec: InstrumentSpec, notional: Decimal, quantity: Decimal) -> int | str | None:
    """Return the average price of what has traded, rounded down to the quote's decimals; None before a fill."""
    if not quantity:
        return None
    step = EXACT.divide_int(EXACT.scaleb(notional, spec.quote_decimals), quantity)
    return spec.wire_average(EXACT.scaleb(step, -spec.quote_decimals))


def order_fields(order: Order, spec: InstrumentSpec) -> dict[str, Any]:
    """Return an order as clients see it."""
    return {
        "order_id": order.id,
        "symbol": order.symbol,
        "side": order.side,
        "type": order.type,
        "time_in_force": order.time_in_force,
        "quantity": None if order.quantity is None else spec.wire_qty(order.quantity),
        "quote_quantity": None if order.quote_quantity is None else spec.wire_price(order.quote_quantity),
        "price": None if order.price is None else spec.wire_price(order.price),
        "stop_price": None if order.stop_price is None else spec.wire_price(order.stop_price),
        "trigger_by": None if order.trigger_by is None else str(order.trigger_by),
        "display_quantity": None if order.display_quantity is None else spec.wire_qty(order.display_quantity),
        "callback_rate": None if order.callback_rate is None else plain(order.callback_rate),
        "activation_price": None if order.activation_price is None else spec.wire_price(order.activation_price),
        "post_only": order.post_only,
        "self_trade_prevention": str(order.self_trade_prevention),
        "expires_at": moment(order.expires_at),
        "filled_quantity": spec.wire_qty(order.filled_quantity),
        "avg_price": average_price(spec, order.filled_notional, order.filled_quantity),
        "fee": plain(order.fee),
        "fee_asset": spec.quote,
        "status": str(order.status),
        "reason": order.reason,
        "amend_refusal": order.amend_refusal,
        "client_order_id": order.client_order_id,
        "created_at": moment(order.created_at),
        "updated_at": moment(order.updated_at),
        "triggered_at": moment(order.triggered_at),
        "filled_at": moment(order.filled_at),
        "cancelled_at": moment(order.cancelled_at),
    }


def balance_fields(asset: str, wallets: Mapping[str, Decimal]) -> dict[str, Any]:
    """Return one asset's balances as clients see them.

    Args:
        wallets: Amounts of "available", "order_hold" and "withdraw_hold".
    """
    return {
        "asset": asset,
        "balance": plain(wallets["available"]),
        "frozen_balance": plain(wallets["order_hold"] + wallets["withdraw_hold"]),
    }
