"""Changing a resting plain order: cancel, reduce, amend."""

from typing import Any

from matching_worker.book.books import tell
from matching_worker.book.compiled import called
from matching_worker.book.handle import Books
from matching_worker.book.layout import KEY_FLIP
from matching_worker.book.positions import int64
from matching_worker.book.queue import leave
from matching_worker.protocol import CommandKind, EventKind, Reason, Side

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


@called
def change(books: Books, command: Any, slot: Any, place: Any) -> tuple[Any, Any, bool]:
    """Carry out a CANCEL, REDUCE or AMEND that has not been refused.

    Every outcome says how many lots went from which price and what stands there now. An amend that
    loses its place (new price, or more lots) only leaves its queue here; it comes back in as an
    incoming order. A smaller one keeps its place.

    Returns:
        The order's trader and side, and whether the order must come back in.
    """
    order = books.orders[slot]
    trader_id = order["trader_id"]
    side_row = int64(order["side_row"])
    side = (side_row & 1) + 1
    level = books.levels[order["level"]]
    price_ticks = level["key"] ^ (KEY_FLIP if side == _BUY else 0)
    open_lots, lots = order["open_lots"], command["qty_lots"]
    comes_back = False
    event_kind, reason, left = _CANCELLED, _USER, int64(0)
    if command["kind"] == _AMEND:
        event_kind, left = _AMENDED, lots
        comes_back = command["price_ticks"] != price_ticks or lots > open_lots
        reason = _LOST_PLACE if comes_back else _NONE
    elif command["kind"] == _REDUCE:
        left = max(int64(0), open_lots - lots)
        event_kind = _REDUCED if left > 0 else _CANCELLED
        reason = _NONE if left > 0 else _REDUCED_TO_ZERO

    if comes_back or event_kind == _CANCELLED:
        removed = open_lots
        level_lots = leave(
            books.orders, books.levels, books.nodes, books.index, books.traders,
            books.state[0], books.sides[side_row], slot, place,
        )  # fmt: skip
    else:
        removed = open_lots - left
        order["open_lots"] = left
        level_lots = level["open_lots"] - removed
        level["open_lots"] = level_lots
    order_id = command["order_id"]
    tell(books, command, event_kind, side, reason, order_id, trader_id, price_ticks, removed, left, level_lots)
    return trader_id, side, comes_back
