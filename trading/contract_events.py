"""The domain events of contract orders: what `trading/events/EVENTS.md` lists, built from plain values."""

from datetime import datetime
from typing import NamedTuple

from exchange.kernel.money import plain, plain_quanta
from ledger.waterfall import CloseAmounts, OpenAmounts
from trading.order_parts import Split
from trading.order_state import OrderState
from trading.position_state import Closed
from trading.services.outbox import DomainEvent


class Fill(NamedTuple):
    """One side of a match."""

    trade_id: int
    ticks: int
    lots: int
    sequence: int
    at: datetime
    trace: str


def opened(order: OrderState, fill: Fill, falls: Split, amounts: OpenAmounts, missing: int) -> list[DomainEvent]:
    """Say that margin went from hold to position; and where the order was meant to close, that too.

    Args:
        missing: What margin could not be funded, in quanta.
    """
    about = _about(order, fill, amounts)
    about["margin_missing"] = plain_quanta(missing, order.spec.quote_decimals)
    told: list[DomainEvent] = [
        ("order", str(order.id), "TradeMarginSettled", about | _quantity(order, falls.opened)),
    ]
    if falls.close_to_open:
        quantity = _quantity(order, falls.close_to_open)
        told.append(("position", _position(order), "PositionCloseToOpenCompensation", about | quantity))
    return told


def closed(order: OrderState, fill: Fill, falls: Split, amounts: CloseAmounts, result: Closed) -> list[DomainEvent]:
    """Say that margin and result came back; and where the order was meant to open, that too."""
    about = _about(order, fill, amounts)
    about["realised_pnl"] = plain_quanta(result.result, order.spec.quote_decimals)
    told: list[DomainEvent] = [
        ("position", _position(order), "PositionMarginReleased", about | _quantity(order, falls.closed)),
    ]
    if falls.open_to_close:
        quantity = _quantity(order, falls.open_to_close)
        told.append(("position", _position(order), "PositionOpenToCloseCompensation", about | quantity))
    return told


def stolen(order: OrderState, lots: int, held: int, *, cancels: bool) -> DomainEvent:
    """Say that a fill took the position away that an order had reserved.

    Args:
        held: The funds that were taken instead, in quanta.
        cancels: They were not to be had, and the engine was asked to take the lots off.
    """
    details: dict[str, object] = {
        "held": plain_quanta(held, order.spec.quote_decimals),
        "lots": plain(order.spec.lots_to_qty(lots)),
        "cancels": cancels,
    }
    return ("order", str(order.id), "ReservationStolen", _order(order) | details)


def _order(order: OrderState) -> dict[str, object]:
    """Return what every event about an order names."""
    return {
        "order_id": order.id,
        "user_id": order.user_id,
        "symbol": order.spec.symbol,
        "asset": order.spec.quote,
        "trace": order.trace,
    }


def _about(order: OrderState, fill: Fill, amounts: OpenAmounts | CloseAmounts) -> dict[str, object]:
    """Return what every event about a fill names; amounts in the contract's quote asset as decimal strings."""
    about = _order(order)
    about["trade_id"], about["price"] = fill.trade_id, plain(order.spec.ticks_to_price(fill.ticks))
    for name, quanta in zip(amounts._fields, amounts, strict=True):
        about[name] = plain_quanta(quanta, order.spec.quote_decimals)
    return about


def _quantity(order: OrderState, lots: int) -> dict[str, object]:
    """Return a quantity as a decimal string."""
    return {"quantity": plain(order.spec.lots_to_qty(lots))}


def _position(order: OrderState) -> str:
    """Return the name of the position that an order's fills change."""
    return f"{order.user_id}:{order.spec.symbol}"
