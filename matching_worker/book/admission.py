"""What is settled before a command may touch the books: is there room for it, and must it be refused."""

from typing import Any, Final

import numpy as np

from matching_worker.book.compiled import called, inlined
from matching_worker.book.handle import Books
from matching_worker.book.layout import (
    DONE,
    HAS_WISHES,
    KEY_FLIP,
    NO_SLOT,
    NODES_PER_LEVEL_MAX,
    WANTS_EVENTS,
    WANTS_INDEX,
    WANTS_LEVELS,
    WANTS_NODES,
    WANTS_ORDERS,
)
from matching_worker.book.positions import int64
from matching_worker.book.reading import next_level
from matching_worker.protocol import (
    OPEN_ORDERS_MAX,
    PRICE_TICKS_MAX,
    QTY_LOTS_MAX,
    CommandKind,
    OrderType,
    Reason,
    Rows,
    Side,
    TimeInForce,
)

# Enum members are objects; the loops need plain integers.
_PLACE, _CANCEL, _REDUCE, _AMEND = (int(kind) for kind in CommandKind if kind <= CommandKind.AMEND)
_BUY, _SELL = (int(side) for side in Side)
_LIMIT, _MARKET = int(OrderType.LIMIT), int(OrderType.MARKET)
_GTC, _IOC = int(TimeInForce.GTC), int(TimeInForce.IOC)
_NONE = int(Reason.NONE)
_DUPLICATE_ORDER_ID = int(Reason.DUPLICATE_ORDER_ID)
_UNKNOWN_ORDER = int(Reason.UNKNOWN_ORDER)
_NOT_OWNER = int(Reason.NOT_OWNER)
_BAD_PRICE = int(Reason.BAD_PRICE)
_BAD_QTY = int(Reason.BAD_QTY)
_BAD_SIDE = int(Reason.BAD_SIDE)
_TOO_MANY_OPEN_ORDERS = int(Reason.TOO_MANY_OPEN_ORDERS)

RARER: Final = 255
"""In the place of a reason: the rarer road decides."""

_EVENTS_BESIDE_FILLS: Final = 2
"""A command causes at most this many events that are not fills: AMENDED, and RESTED or CANCELLED."""


@inlined
def _fills_of_sweep(command: Any, maker_side: Any, flip: int, levels: Rows, nodes: Rows) -> int:
    """Count the orders of the levels that a taker would reach: at least as many as it can fill."""
    limit_key = command["price_ticks"] ^ flip
    lots = command["qty_lots"]
    fills = 0
    slot = maker_side["best_level"]
    while slot != NO_SLOT and lots > 0 and levels[slot]["key"] <= limit_key:
        fills += levels[slot]["order_count"]
        lots -= levels[slot]["open_lots"]
        slot = next_level(nodes, levels, slot)
    return fills


@inlined
def order_room(state: Any, orders: Rows, levels: Rows, nodes: Rows, index: Rows) -> Any:
    """Return how many orders can surely rest before anything has to grow; none or fewer: ask `missing_room`."""
    of_orders = min(len(orders) - 1, len(index) // 2) - state["order_count"] - 1
    of_levels = len(levels) - 1 - state["level_count"] - 1
    of_nodes = (len(nodes) - 1 - state["node_count"]) // NODES_PER_LEVEL_MAX
    return min(of_orders, of_levels, of_nodes, OPEN_ORDERS_MAX - state["order_count"])


@called
def missing_room(books: Books, command: Any) -> Any:
    """Return what would have to grow before this plain command can be applied whole, or DONE."""
    state, sides, event_room = books.state[0], books.sides, len(books.events) - books.state[0]["event_count"]
    wanted = min(state["order_count"], command["qty_lots"]) + _EVENTS_BESIDE_FILLS
    if event_room < wanted:
        # Rare, so count exactly. An amend does not say its side: both are counted.
        first = 2 * int64(command["instrument_id"])
        wanted = int64(_EVENTS_BESIDE_FILLS)
        wanted += _fills_of_sweep(command, sides[first], KEY_FLIP, books.levels, books.nodes)
        wanted += _fills_of_sweep(command, sides[first + 1], 0, books.levels, books.nodes)
    if event_room < wanted:
        state["events_wanted"] = wanted
        return WANTS_EVENTS
    if state["order_count"] + 2 > len(books.orders):
        return WANTS_ORDERS
    if state["level_count"] + 2 > len(books.levels):
        return WANTS_LEVELS
    if state["node_count"] + NODES_PER_LEVEL_MAX + 1 > len(books.nodes):
        return WANTS_NODES
    if 2 * (state["order_count"] + 1) > len(books.index):
        return WANTS_INDEX
    return DONE


@inlined
def _place_refusal(command: Any, state: Any, slot: Any) -> int:  # noqa: PLR0911 - one for each reason
    """Return why an order cannot be placed, 0, or RARER."""
    if command["side"] != _BUY and command["side"] != _SELL:
        return _BAD_SIDE
    if command["order_type"] != _LIMIT and command["order_type"] != _MARKET:
        return RARER
    if command["time_in_force"] != _GTC and command["time_in_force"] != _IOC:
        return RARER
    if command["price_ticks"] < 1 or command["price_ticks"] > PRICE_TICKS_MAX:
        return _BAD_PRICE
    if command["qty_lots"] < 1 or command["qty_lots"] > QTY_LOTS_MAX:
        return _BAD_QTY
    if state["order_count"] >= OPEN_ORDERS_MAX:
        return _TOO_MANY_OPEN_ORDERS
    return _NONE if slot == NO_SLOT else _DUPLICATE_ORDER_ID


@inlined
def _change_refusal(command: Any, orders: Rows, slot: Any) -> int:  # noqa: PLR0911 - one for each reason
    """Return why a resting order cannot be changed, 0, or RARER."""
    kind = command["kind"]
    if kind < _CANCEL or kind > _AMEND:
        return RARER
    order = orders[slot]  # the row of NO_SLOT can be read as well
    if slot == NO_SLOT or np.int64(order["side_row"]) >> 1 != command["instrument_id"]:
        return RARER if order["special"] != 0 else _UNKNOWN_ORDER
    if order["special"] != 0 and (order["special"] != HAS_WISHES or kind == _AMEND):
        return RARER
    trader_id = command["trader_id"]
    if trader_id != order["trader_id"] and trader_id != 0 and command["version"] > 1:
        return _NOT_OWNER
    if kind == _CANCEL:
        return _NONE
    if kind == _AMEND and (command["price_ticks"] < 1 or command["price_ticks"] > PRICE_TICKS_MAX):
        return _BAD_PRICE
    if command["qty_lots"] < 1:
        return _BAD_QTY
    if kind == _AMEND and command["qty_lots"] > QTY_LOTS_MAX:
        return _BAD_QTY
    return _NONE


@inlined
def refusal(command: Any, state: Any, orders: Rows, slot: Any) -> int:
    """Return why a command must be refused, or 0; the first reason in this order counts.

    RARER stands for whatever the rarer road makes of it: the kinds, types and times in force that came after
    version 1, and orders that are more than plain.

    Args:
        slot: The resting order that the command names, or NO_SLOT.
    """
    if command["kind"] == _PLACE:
        return _place_refusal(command, state, slot)
    return _change_refusal(command, orders, slot)
