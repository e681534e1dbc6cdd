"""The queues of resting orders: join at the back, leave from anywhere, both in O(1)."""

from typing import Any

import numpy as np

from matching_worker.book import index as order_index
from matching_worker.book.compiled import inlined
from matching_worker.book.ladder import close_level, find_level, open_level
from matching_worker.book.layout import NO_SLOT
from matching_worker.book.traders import delist, enlist
from matching_worker.protocol import Rows

_PLAIN = np.uint8(0)

ENTRY_SHIFT = 24


@inlined
def entry_number(sequence: Any, number: Any) -> Any:
    """Return what tells in which order queues were entered: by command, then by event of the command."""
    return np.int64((sequence << ENTRY_SHIFT) | number)


@inlined
def join(  # noqa: PLR0917 - Note [Plain arguments]
    orders: Rows,
    levels: Rows,
    nodes: Rows,
    index: Rows,
    traders: Rows,
    state: Any,
    side: Any,
    side_row: Any,
    key: int,
    place: Any,
    tag: Any,
    order_id: int,
    trader_id: int,
    lots: int,
    entry: Any,
) -> tuple[Any, Any]:
    """Rest an order at the back of the queue at `key`; there must be room for everything it takes.

    Args:
        place: The free place in the table of ids where it goes, and its `tag` there.

    Returns:
        Its slot, and the lots that stand at its price.
    """
    level_slot = find_level(nodes, side, key)
    if level_slot == NO_SLOT:
        level_slot = open_level(nodes, levels, state, side, key)

    slot = state["order_free"]
    if slot != NO_SLOT:
        state["order_free"] = orders[slot]["next_slot"]
    else:
        slot = np.uint32(state["order_used"] + 1)
        state["order_used"] = slot
    state["order_count"] += 1
    side["order_count"] += 1

    level = levels[level_slot]
    tail = level["tail"]
    order = orders[slot]
    order["order_id"] = order_id
    order["trader_id"] = trader_id
    order["open_lots"] = lots
    order["next_slot"] = NO_SLOT
    order["previous_slot"] = tail
    order["level"] = level_slot
    order["side_row"] = np.uint32(side_row)
    order["entry"] = entry
    order["stp"] = _PLAIN
    order["flags"] = _PLAIN
    order["special"] = _PLAIN
    if tail == NO_SLOT:
        level["head"] = slot
    else:
        orders[tail]["next_slot"] = slot
    level["tail"] = slot
    level_lots = level["open_lots"] + lots
    level["open_lots"] = level_lots
    level["order_count"] += 1
    order_index.put(index, place, tag, slot)
    enlist(orders, traders, slot, trader_id)
    return slot, level_lots


@inlined
def leave(
    orders: Rows,
    levels: Rows,
    nodes: Rows,
    index: Rows,
    traders: Rows,
    state: Any,
    side: Any,
    slot: Any,
    place: Any,
) -> Any:
    """Take an order with all its open lots out of its queue, and its level away if it was the last.

    Args:
        place: The order's place in the table of ids.

    Returns:
        Lots that stand at its price afterwards.
    """
    order = orders[slot]
    level_slot = order["level"]
    level = levels[level_slot]
    before = order["previous_slot"]
    after = order["next_slot"]
    if before == NO_SLOT:
        level["head"] = after
    else:
        orders[before]["next_slot"] = after
    if after == NO_SLOT:
        level["tail"] = before
    else:
        orders[after]["previous_slot"] = before
    left = level["open_lots"] - order["open_lots"]
    level["open_lots"] = left
    level["order_count"] -= 1
    order_index.remove(index, place)
    delist(orders, traders, slot)
    order["next_slot"] = state["order_free"]
    order["level"] = NO_SLOT
    state["order_free"] = slot
    state["order_count"] -= 1
    side["order_count"] -= 1
    if level["head"] == NO_SLOT:
        close_level(nodes, levels, state, side, level_slot)
    return left
