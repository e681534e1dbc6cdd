"""The domain events of contract orders: what `trading/events/EVENTS.md` lists, built from plain values."""

from datetime import datetime
from typing import NamedTuple

from exchange.kernel.money import from_quanta, plain
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
    about = _about(order, fill) | _money(order, amounts._asdict() | {"margin_missing": missing})
    told: list[DomainEvent] = [
        ("order", str(order.id), "TradeMarginSettled", about | _quantity(order, falls.opened)),
    ]
    if falls.close_to_open:
        quantity = _quantity(order, falls.close_to_open)
        told.append(("position", _position(order), "PositionCloseToOpenCompensation", about | quantity))
    return told


def closed(order: OrderState, fill: Fill, falls: Split, amounts: CloseAmounts, result: Closed) -> list[DomainEvent]:
    """Say that margin and result came back; and where the order was meant to open, that too."""
    about = _about(order, fill) | _money(order, amounts._asdict() | {"realised_pnl": result.result})
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
    money = _money(order, {"held": held})
    details: dict[str, object] = {"lots": plain(order.spec.lots_to_qty(lots)), "cancels": cancels}
    return ("order", str(order.id), "ReservationStolen", _order(order) | money | details)


def _order(order: OrderState) -> dict[str, object]:
    """Return what every event about an order names."""
    return {
        "order_id": order.id,
        "user_id": order.user_id,
        "symbol": order.spec.symbol,
        "asset": order.spec.quote,
        "trace": order.trace,
    }


def _about(order: OrderState, fill: Fill) -> dict[str, object]:
    """Return what every event about a fill names."""
    return _order(order) | {"trade_id": fill.trade_id, "price": plain(order.spec.ticks_to_price(fill.ticks))}


def _money(order: OrderState, quanta: dict[str, int]) -> dict[str, object]:
    """Return amounts in the contract's quote asset as decimal strings."""
    return {name: plain(from_quanta(value, order.spec.quote_decimals)) for name, value in quanta.items()}


def _quantity(order: OrderState, lots: int) -> dict[str, object]:
    """Return a quantity as a decimal string."""
    return {"quantity": plain(order.spec.lots_to_qty(lots))}


def _position(order: OrderState) -> str:
    """Return the name of the position that an order's fills change."""
    return f"{order.user_id}:{order.spec.symbol}"
