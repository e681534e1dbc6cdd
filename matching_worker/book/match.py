"""Trading an incoming plain order against the other side: best price first, then oldest first."""

from typing import Any

import numpy as np

from matching_worker.book import index as order_index
from matching_worker.book.compiled import called
from matching_worker.book.emit import emit_fill, fold_sum
from matching_worker.book.handle import Books
from matching_worker.book.ladder import close_level
from matching_worker.book.layout import KEY_FLIP, NO_SLOT
from matching_worker.book.machine import prefetch
from matching_worker.book.traders import delist
from matching_worker.protocol import Side

_BUY = int(Side.BUY)
_ONE = np.uint32(1)


@called
def take(books: Books, command: Any, side: int, trader_id: int) -> Any:  # noqa: PLR0915 - one loop
    """Trade an order as far as its price reaches; there must be room for one event for each fill.

    Args:
        side: The taker's; an AMEND does not say it.
        trader_id: The taker's.

    Returns:
        Lots left.
    """
    state, orders, index, events = books.state[0], books.orders, books.index, books.events
    levels, nodes, traders = books.levels, books.nodes, books.traders
    instrument_id = np.int64(command["instrument_id"])
    instrument = books.instruments[instrument_id]
    maker_side = books.sides[(2 * instrument_id + side - 1) ^ 1]
    flip = 0 if side == _BUY else KEY_FLIP  # what turns the makers' keys into prices: Note [Keys]
    limit_key, lots = command["price_ticks"] ^ flip, command["qty_lots"]
    state_hash, count, time_ns = state["state_hash"], state["event_count"], state["time_ns"]
    first, trade_number = state["first_event"], instrument["trade_number"]
    trade_id = state["trade_id_base"] + state["trade_count"]
    filled = np.uint32(0)
    while lots > 0 and maker_side["best_level"] != NO_SLOT and maker_side["best_key"] <= limit_key:
        level_slot = maker_side["best_level"]
        level = levels[level_slot]
        price_ticks, level_lots, slot = level["key"] ^ flip, level["open_lots"], level["head"]
        filled_before = filled
        while lots > 0 and slot != NO_SLOT:
            maker = orders[slot]
            prefetch(orders, maker["next_slot"])
            traded = min(lots, maker["open_lots"])
            maker_left = maker["open_lots"] - traded
            lots -= traded
            level_lots -= traded
            trade_id += 1
            trade_number += 1
            total = emit_fill(
                events[np.uint64(count)], command, time_ns, count - first, side, command["order_id"], trader_id,
                maker["order_id"], maker["trader_id"], price_ticks, traded, lots, maker_left, level_lots,
                trade_id, trade_number,
            )  # fmt: skip
            state_hash = fold_sum(state_hash, total)
            count += 1
            if maker_left > 0:
                maker["open_lots"] = maker_left
            else:
                order_index.remove(index, order_index.place_of(index, maker["order_id"], slot))
                delist(orders, traders, slot)
                after = maker["next_slot"]
                maker["next_slot"] = state["order_free"]
                maker["level"] = NO_SLOT
                state["order_free"] = slot
                filled += _ONE
                slot = after
        level["order_count"] -= filled - filled_before
        level["open_lots"] = level_lots
        level["head"] = slot
        if slot == NO_SLOT:
            level["tail"] = NO_SLOT
            close_level(nodes, levels, state, maker_side, level_slot)
        else:
            orders[slot]["previous_slot"] = NO_SLOT
        instrument["last_price_ticks"] = price_ticks
    state["trade_count"] = trade_id - state["trade_id_base"]
    state["order_count"] -= np.int64(filled)
    maker_side["order_count"] -= filled
    instrument["trade_number"] = trade_number
    state["state_hash"], state["event_count"] = state_hash, count
    return lots
