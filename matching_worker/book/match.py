"""Trading an incoming order against the other side: best price first, then oldest first."""

from typing import Any

from matching_worker.book import index as order_index
from matching_worker.book.compiled import inlined
from matching_worker.book.emit import emit_fill, fold_sum
from matching_worker.book.ladder import close_level
from matching_worker.book.layout import NO_SLOT
from matching_worker.protocol import Rows


@inlined
def take(  # noqa: PLR0917 - Note [Plain arguments]
    events: Rows,
    event_count: int,
    state_hash: Any,
    orders: Rows,
    levels: Rows,
    nodes: Rows,
    index: Rows,
    state: Any,
    instrument: Any,
    maker_side: Any,
    flip: int,
    command: Any,
    time_ns: int,
    number: int,
    taker_side: int,
    trader_id: int,
    limit_key: int,
    lots: int,
) -> tuple[int, int, Any]:
    """Fill `lots` from `maker_side` as far as its keys are at or below `limit_key`.

    Args:
        events: (event_capacity,) EVENT_DTYPE. Written from `event_count`; there must be room for
            one event for each fill.
        state_hash: uint64, the running hash before the fills.
        maker_side: SIDE_DTYPE row of the side that is hit.
        flip: What turns a key of that side into a price; see Note [Keys].
        number: Events that the command has already caused.
        limit_key: The worst price the taker accepts, as a key of the makers' side.
        lots: The taker's open lots, positive.

    Returns:
        Lots left, the new event count, and the new running hash.
    """
    while lots > 0 and maker_side["best_level"] != NO_SLOT and maker_side["best_key"] <= limit_key:
        level_slot = maker_side["best_level"]
        level = levels[level_slot]
        price_ticks = level["key"] ^ flip
        level_lots = level["open_lots"]
        slot = level["head"]
        while lots > 0 and slot != NO_SLOT:
            maker = orders[slot]
            traded = min(lots, maker["open_lots"])
            maker_left = maker["open_lots"] - traded
            lots -= traded
            level_lots -= traded
            state["trade_count"] += 1
            instrument["trade_number"] += 1
            total = emit_fill(
                events[event_count],
                command,
                time_ns,
                number,
                taker_side,
                command["order_id"],
                trader_id,
                maker["order_id"],
                maker["trader_id"],
                price_ticks,
                traded,
                lots,
                maker_left,
                level_lots,
                state["trade_id_base"] + state["trade_count"],
                instrument["trade_number"],
            )
            state_hash = fold_sum(state_hash, total)
            event_count += 1
            number += 1
            if maker_left > 0:
                maker["open_lots"] = maker_left
            else:
                order_index.remove(index, maker["order_id"], slot)
                after = maker["next_slot"]
                maker["next_slot"] = state["order_free"]
                maker["level"] = NO_SLOT
                state["order_free"] = slot
                state["order_count"] -= 1
                maker_side["order_count"] -= 1
                level["order_count"] -= 1
                slot = after
        instrument["last_price_ticks"] = price_ticks
        level["open_lots"] = level_lots
        level["head"] = slot
        if slot == NO_SLOT:
            level["tail"] = NO_SLOT
            close_level(nodes, levels, state, maker_side, level_slot)
        else:
            orders[slot]["previous_slot"] = NO_SLOT
    return lots, event_count, state_hash
