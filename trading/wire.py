"""How orders, fills and balances look to clients: one shape for REST and WebSocket, built from plain values."""

import functools
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from exchange.kernel.money import EXACT, from_quanta, plain, plain_quanta
from marketdata.units import InstrumentSpec
from risk import contract_margin
from trading.models import Order
from trading.position_state import PositionState

RATIO_DECIMALS = 6


def moment(value: datetime | None) -> str | None:
    """Write a time, which is in UTC, as RFC 3339 with six decimals."""
    return None if value is None else _moment(value)


@functools.lru_cache(maxsize=10_000)
def _moment(value: datetime) -> str:
    """Write a time; what one command does has the same time in many places."""
    return value.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def average_price(spec: InstrumentSpec, notional: Decimal, quantity: Decimal) -> int | str | None:
    """Return the average price of what has traded, rounded down to the quote's decimals; None before a fill."""
    if not quantity:
        return None
    size = EXACT.multiply(quantity, spec.contract_size)
    quanta = EXACT.divide_int(EXACT.scaleb(notional, spec.quote_decimals), size)
    if spec.minor_unit_decimals is None:
        return plain_quanta(int(quanta), spec.quote_decimals)
    return spec.wire_average(EXACT.scaleb(quanta, -spec.quote_decimals))


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
        "reduce_only": order.reduce_only,
        "close_position": order.close_position,
        "leverage": order.leverage,
        "intent": None if order.intent is None else str(order.intent),
        "reduce_quantity": None if order.reduce_quantity is None else spec.wire_qty(order.reduce_quantity),
        "increase_quantity": None if order.increase_quantity is None else spec.wire_qty(order.increase_quantity),
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


def position_fields(position: PositionState, mark_ticks: int | None) -> dict[str, Any]:
    """Return a position in a contract as clients see it; what depends on the mark is None where there is none."""
    spec, unit = position.spec, position.spec.unit_quanta

    def money(quanta: int) -> str:
        return plain_quanta(quanta, spec.quote_decimals)

    def price(ticks: int | None) -> int | str | None:
        return None if ticks is None else spec.wire_ticks(ticks)

    liquidation = unrealised = ratio = roe = None
    if position.lots and spec.brackets:
        liquidation = contract_margin.liquidation_ticks(
            lots=position.lots, cost=position.cost, margin=position.margin, unit=unit, brackets=spec.brackets
        )
    if position.lots and mark_ticks is not None:
        unrealised = contract_margin.unrealised(
            lots=position.lots, cost=position.cost, mark_ticks=mark_ticks, unit=unit
        )
        maintenance = contract_margin.maintenance_margin(mark_ticks * position.size * unit, spec.brackets)
        ratio = _rate(maintenance, position.margin + unrealised)
        roe = _rate(unrealised, position.margin)
    entry = average_price(spec, from_quanta(abs(position.cost), spec.quote_decimals), spec.lots_to_qty(position.size))
    return {
        "symbol": spec.symbol,
        "kind": spec.kind,
        "quantity": spec.wire_lots(position.lots),
        "entry_price": entry,
        "mark_price": price(mark_ticks),
        "margin": money(position.margin),
        "margin_missing": money(position.margin_missing),
        "leverage": position.leverage,
        "unrealized_pnl": None if unrealised is None else money(unrealised),
        "realized_pnl": money(position.realised),
        "margin_ratio": ratio,
        "roe": roe,
        "liquidation_price": price(liquidation),
        "reserved_quantity": spec.wire_lots(position.reserved),
        "is_locked": position.is_locked,
        "version": position.version,
    }


def _rate(part: int, whole: int) -> str | None:
    """Return a ratio with six decimals, toward minus infinity; None where there is nothing to compare with."""
    return plain_quanta(part * 10**RATIO_DECIMALS // whole, RATIO_DECIMALS) if whole > 0 else None


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
