"""What traders do in scenes, and the requests that it becomes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from trading.services.requests import AmendOrder, CancelOrder, OrderRequest, PlaceOrder, ReduceOrder


class Action(NamedTuple):
    """What a trader does next; `target` counts the trader's own orders in the scene, from 0.

    "mark" and "lever" use `price` and `lots` for the mark price and the leverage. "sweep" is the sweeper's turn; "lost"
    an order that is placed, but whose command never comes into the log.
    """

    kind: str
    side: str = ""
    lots: int = 0
    price: int = 0
    target: int = 0


class Refused(NamedTuple):
    """An action that was refused, by the refusal's name."""

    name: str


ENDS_AT = datetime(2026, 1, 5, 0, 30, tzinfo=UTC)
"""When orders of kind "gtd" end: after all scenes, and before the sweeper's clock."""


def request_of(action: Action, symbol: str, mine: Sequence[int]) -> OrderRequest:
    """Return an action as the request that a trader would send.

    Args:
        mine: The trader's orders, in the order in which they were placed; 0 for one that was refused.
    """
    target = mine[action.target] if action.target < len(mine) else 0
    lots, price = Decimal(action.lots), Decimal(action.price)
    if action.kind == "cancel":
        return CancelOrder(target)
    if action.kind == "reduce":
        return ReduceOrder(target, lots)
    if action.kind == "amend":
        return AmendOrder(target, price=price or None, quantity=lots or None)
    fields: dict[str, Any] = {
        "limit": {},
        "lost": {},
        "gtd": {"time_in_force": "gtd", "expires_at": ENDS_AT},
        "ioc": {"time_in_force": "ioc"},
        "reduce_only": {"reduce_only": True},
        "self_trade": {"self_trade_prevention": "decrement"},
    }
    if action.kind == "close":
        return PlaceOrder(symbol, action.side, "market", None, None, "ioc", close_position=True, trace="t")
    if action.kind == "market":
        return PlaceOrder(symbol, action.side, "market", lots, None, "ioc", trace="t")
    return PlaceOrder(symbol, action.side, "limit", lots, price, trace="t", **fields[action.kind])
