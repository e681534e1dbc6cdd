"""Changing a resting order: cancel, reduce, amend."""

from typing import Any

import numpy as np

from matching_worker.book.compiled import inlined
from matching_worker.book.emit import emit
from matching_worker.book.layout import KEY_FLIP
from matching_worker.book.queue import leave
from matching_worker.protocol import CommandKind, EventKind, Reason, Rows, Side

_AMEND = int(CommandKind.AMEND)
_REDUCE = int(CommandKind.REDUCE)
_BUY = int(Side.BUY)
_CANCELLED = int(EventKind.CANCELLED)
_REDUCED = int(EventKind.REDUCED)
_AMENDED = int(EventKind.AMENDED)
_NONE = int(Reason.NONE)
_USER = int(Reason.USER)
_REDUCED_TO_ZERO = int(Reason.REDUCED_TO_ZERO)
_LOST_PLACE = int(Reason.LOST_PLACE)


@inlined
def change(
    event: Any,
    command: Any,
    time_ns: int,
    state: Any,
    sides: Rows,
    orders: Rows,
    levels: Rows,
    nodes: Rows,
    index: Rows,
    slot: Any,
) -> tuple[Any, Any, Any, bool]:
    """Carry out a CANCEL, REDUCE or AMEND that has not been refused.

    Every outcome says how many lots went from which price and what stands there now. An amend that
    loses its place (new price, or more lots) only leaves its queue here; it comes back in as an
    incoming order. A smaller one keeps its place.

    Returns:
        Sum of the event's words, the order's trader and side, and whether the order must come back in.
    """
    order = orders[slot]
    trader_id = order["trader_id"]
    side_row = np.int64(order["side_row"])
    side = (side_row & 1) + 1
    level = levels[order["level"]]
    price_ticks = level["key"] ^ (KEY_FLIP if side == _BUY else 0)
    open_lots = order["open_lots"]
    kind = command["kind"]
    lots = command["qty_lots"]

    comes_back = False
    event_kind = _CANCELLED
    reason = _USER
    left = np.int64(0)
    if kind == _AMEND:
        event_kind = _AMENDED
        left = lots
        comes_back = command["price_ticks"] != price_ticks or lots > open_lots
        reason = _LOST_PLACE if comes_back else _NONE
    elif kind == _REDUCE:
        left = max(np.int64(0), open_lots - lots)
        event_kind = _REDUCED if left > 0 else _CANCELLED
        reason = _NONE if left > 0 else _REDUCED_TO_ZERO

    if comes_back or event_kind == _CANCELLED:
        removed = open_lots
        level_lots = leave(orders, levels, nodes, index, state, sides[side_row], slot)
    else:
        removed = open_lots - left
        order["open_lots"] = left
        level_lots = level["open_lots"] - removed
        level["open_lots"] = level_lots
    total = emit(
        event,
        command,
        time_ns,
        0,
        event_kind,
        side,
        reason,
        command["order_id"],
        trader_id,
        price_ticks,
        removed,
        left,
        level_lots,
    )
    return total, trader_id, side, comes_back
