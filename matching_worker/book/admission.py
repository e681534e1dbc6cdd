"""What is settled before a command may touch the books: is there room for it, and must it be refused."""

from typing import Any, Final

import numpy as np

from matching_worker.book.compiled import inlined
from matching_worker.book.layout import (
    DONE,
    KEY_FLIP,
    NO_SLOT,
    NODES_PER_LEVEL_MAX,
    WANTS_EVENTS,
    WANTS_INDEX,
    WANTS_LEVELS,
    WANTS_NODES,
    WANTS_ORDERS,
)
from matching_worker.book.reading import next_level
from matching_worker.protocol import (
    INSTRUMENT_ID_MAX,
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
_BAD_INSTRUMENT = int(Reason.BAD_INSTRUMENT)
_BAD_SIDE = int(Reason.BAD_SIDE)
_BAD_KIND = int(Reason.BAD_KIND)
_BAD_ORDER_TYPE = int(Reason.BAD_ORDER_TYPE)
_BAD_TIME_IN_FORCE = int(Reason.BAD_TIME_IN_FORCE)
_TOO_MANY_OPEN_ORDERS = int(Reason.TOO_MANY_OPEN_ORDERS)

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
def missing_room(
    command: Any, event_room: int, state: Any, sides: Rows, orders: Rows, levels: Rows, nodes: Rows, index: Rows
) -> int:
    """Return what would have to grow before this command can be applied whole, or DONE."""
    instrument_id = np.int64(command["instrument_id"])
    fills_max = 0
    if 0 <= instrument_id <= INSTRUMENT_ID_MAX:
        buys = np.int64(sides[2 * instrument_id]["order_count"])
        sells = np.int64(sides[2 * instrument_id + 1]["order_count"])
        fills_max = max(0, min(buys + sells, command["qty_lots"]))
        if event_room < fills_max + _EVENTS_BESIDE_FILLS:
            # Rare, so count exactly. An amend does not say its side: both are counted.
            fills_max = _fills_of_sweep(command, sides[2 * instrument_id], KEY_FLIP, levels, nodes)
            fills_max += _fills_of_sweep(command, sides[2 * instrument_id + 1], 0, levels, nodes)
    if event_room < fills_max + _EVENTS_BESIDE_FILLS:
        state["events_wanted"] = fills_max + _EVENTS_BESIDE_FILLS
        return WANTS_EVENTS
    if state["order_count"] + 2 > len(orders):
        return WANTS_ORDERS
    if state["level_count"] + 2 > len(levels):
        return WANTS_LEVELS
    if state["node_count"] + NODES_PER_LEVEL_MAX + 1 > len(nodes):
        return WANTS_NODES
    if 2 * (state["order_count"] + 1) > len(index):
        return WANTS_INDEX
    return DONE


@inlined
def _place_refusal(command: Any, state: Any, slot: Any) -> int:  # noqa: PLR0911 - one for each reason
    """Return why an order cannot be placed, or 0."""
    if command["side"] != _BUY and command["side"] != _SELL:
        return _BAD_SIDE
    if command["order_type"] != _LIMIT and command["order_type"] != _MARKET:
        return _BAD_ORDER_TYPE
    if command["time_in_force"] != _GTC and command["time_in_force"] != _IOC:
        return _BAD_TIME_IN_FORCE
    if command["price_ticks"] < 1 or command["price_ticks"] > PRICE_TICKS_MAX:
        return _BAD_PRICE
    if command["qty_lots"] < 1 or command["qty_lots"] > QTY_LOTS_MAX:
        return _BAD_QTY
    if state["order_count"] >= OPEN_ORDERS_MAX:
        return _TOO_MANY_OPEN_ORDERS
    if slot != NO_SLOT:
        return _DUPLICATE_ORDER_ID
    return _NONE


@inlined
def _change_refusal(command: Any, orders: Rows, slot: Any) -> int:  # noqa: PLR0911 - one for each reason
    """Return why a resting order cannot be changed, or 0."""
    kind = command["kind"]
    if kind not in (_CANCEL, _REDUCE, _AMEND):
        return _BAD_KIND
    if slot == NO_SLOT or np.int64(orders[slot]["side_row"]) >> 1 != command["instrument_id"]:
        return _UNKNOWN_ORDER
    trader_id = command["trader_id"]
    if trader_id != orders[slot]["trader_id"] and trader_id != 0 and command["version"] > 1:
        return _NOT_OWNER
    if kind == _AMEND and (command["price_ticks"] < 1 or command["price_ticks"] > PRICE_TICKS_MAX):
        return _BAD_PRICE
    if kind != _CANCEL and command["qty_lots"] < 1:
        return _BAD_QTY
    if kind == _AMEND and command["qty_lots"] > QTY_LOTS_MAX:
        return _BAD_QTY
    return _NONE


@inlined
def refusal(command: Any, state: Any, orders: Rows, slot: Any) -> int:
    """Return why a command must be refused, or 0; the first reason in this order counts.

    Args:
        slot: The resting order that the command names, or NO_SLOT.
    """
    if command["instrument_id"] < 0 or command["instrument_id"] > INSTRUMENT_ID_MAX:
        return _BAD_INSTRUMENT
    if command["kind"] == _PLACE:
        return _place_refusal(command, state, slot)
    return _change_refusal(command, orders, slot)
